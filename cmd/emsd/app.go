package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"emsd/cmd/emsd/internal/api"
	"emsd/cmd/emsd/internal/console"
	"emsd/cmd/emsd/internal/intake"
	"emsd/cmd/emsd/internal/resident"
	"emsd/cmd/emsd/internal/web"
	"emsd/courier"
	"emsd/courier/audit"
	"emsd/courier/ems"
	"emsd/courier/sheet"
	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/migrations"
	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/mas"
	"emsd/notify/tencent"
	"emsd/notify/webhook"
	"emsd/tracking"
	"emsd/tracking/calendar"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/prometheus/client_golang/prometheus"
)

// An app is the daemon with every part made and nothing running.
type app struct {
	cfg   Config
	log   *slog.Logger
	clock courier.Clock
	db    *sqlx.DB
	dsn   string
	reg   *prometheus.Registry
	vault *vault.Vault
	certs *certKeeper // of the back office; nil: plain HTTP

	ems       *ems.Client
	service   *courier.Service
	staff     *staff.Staff
	orderer   *courier.Orderer
	fees      *courier.FeeAuditor
	press     *sheet.Fonts
	changes   *courier.Interventions
	publisher *courier.Publisher
	inbox     *courier.Inbox
	poller    *tracking.Poller
	hints     *tracking.Hints
	staller   *tracking.Staller
	journeys  *tracking.Chronicler
	tallies   *tracking.Tallier
	timeline  *tracking.Reader
	uploads   *intake.Uploads
	tries     *resident.Tries
	pages     *resident.Pages
	planner   *notify.Planner
	sender    *notify.Sender
	resolver  *notify.Resolver
	receipts  *notify.Receipts
	replies   *notify.Replies
	allow     *webhook.Allow
	hooks     *webhook.Service
	caller    *webhook.Client
	webhooks  *webhook.Sender

	gateways      []notify.Gateway
	trials        *notify.Trials
	registrations *notify.Registrations

	feedGrew *broadcast
	schedule *scheduler
	rounds   *roundMetrics
}

// newApp makes the daemon: the database must be there, migrated and of this version, the key must open it.
func newApp(ctx context.Context, cfg Config, clock courier.Clock, log *slog.Logger) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, clock: clock, reg: newRegistry(), feedGrew: newBroadcast()}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.dsn, err = withSession(string(cfg.DatabaseURL)); err != nil {
		return nil, err
	}
	if a.db, err = openDatabase(ctx, string(cfg.DatabaseURL), cfg.DatabasePool); err != nil {
		return nil, err
	}
	if err = migrations.Check(ctx, a.db.DB); err != nil {
		return nil, err
	}
	master, err := vault.ReadMasterKey(cfg.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	if a.vault, err = vault.Open(ctx, a.db, master, clock.Now()); err != nil {
		return nil, err
	}
	if a.ems, err = ems.New(cfg.EMS.client(clock), log, ems.NewMetrics(a.reg)); err != nil {
		return nil, err
	}
	a.service = courier.New(a.db, a.vault, clock, courier.Options{PaymentMethods: cfg.PaymentMethods, WeightG: cfg.WeightG,
		Interventions: cfg.EMS.InterveneAPI != ""})
	a.staff = staff.New(a.db, a.vault, clock, staff.Options{Idle: cfg.SessionIdle, Longest: cfg.SessionMax, SecondFactor: staff.SecondFactor(cfg.SecondFactor)})
	a.orderer = courier.NewOrderer(a.db, a.vault, a.ems, clock, cfg.orderOptions(), log, courier.NewOrderMetrics(a.reg))
	a.press = sheet.NewFonts(cfg.FontFiles)
	if err := a.press.Check(); err != nil {
		log.Warn("labels and manifests cannot be printed, or not every name: see EMSD_FONT_FILES", "error", err)
	}
	a.fees = courier.NewFeeAuditor(a.db, charger{a.ems}, clock, log)
	var intervener courier.Intervener // none: a clerk telephones
	if cfg.EMS.InterveneAPI != "" {
		intervener = a.ems
	}
	a.changes = courier.NewInterventions(a.db, a.vault, intervener, clock, cfg.OrderLease, log)
	a.publisher = courier.NewPublisher(a.db)
	a.inbox = courier.NewInbox(a.service, log)
	a.poller = tracking.NewPoller(a.db, a.vault, a.ems, clock,
		tracking.Options{Concurrency: cfg.EMS.Concurrency, Rate: cfg.EMS.Rate, KeepAnswers: cfg.KeepAnswersDays > 0}, log, tracking.NewMetrics(a.reg))
	a.hints = tracking.NewHints(a.db)
	a.staller = tracking.NewStaller(a.db, clock, log, tracking.NewStallMetrics(a.reg))
	a.journeys = tracking.NewChronicler(a.db, clock)
	a.tallies = tracking.NewTallier(a.db)
	a.timeline = tracking.NewReader(a.db)
	a.tries = resident.NewTries(a.db)
	a.pages = resident.NewPages(resident.PageConfig{Days: cfg.TrackingDays, Proxies: cfg.TrustedProxies}, a.vault, a.tries, a.service, a.timeline,
		tracking.NewHistory(a.db, clock, tracking.HistoryOptions{}), notify.NewRefusals(a.db, a.vault), clock, log)
	a.uploads = intake.NewUploads(a.db, a.vault, a.service, clock, log)
	if err = a.makeNotify(); err != nil {
		return nil, err
	}
	if files := cfg.certFiles(); files.used() {
		if a.certs, err = newCertKeeper(files, log); err != nil {
			return nil, err
		}
	}
	if err = a.makeWebhooks(); err != nil {
		return nil, err
	}
	a.reg.MustRegister(newDueCollector(a.db, clock.Now, clock.Wall))
	a.makeSchedule()
	return a, nil
}

func (a *app) makeNotify() error {
	var list []notify.Gateway
	for _, name := range a.cfg.SMS {
		switch name {
		case "log":
			list = append(list, notify.NewLogGateway(a.log))
		default:
			g, err := a.makeGateway(name)
			if err != nil {
				return err
			}
			for _, u := range notify.Unsendables(g, a.cfg.signatures()[name], a.cfg.EMS.DeliveryPassword) {
				a.log.Warn("an SMS gateway has no usable template for a milestone: its messages take another gateway, or wait", "gateway", name, "milestone", u.Text, "why", u.Why)
			}
			list = append(list, g)
		}
	}
	gateways, err := notify.NewGateways(list...)
	if err != nil {
		return err
	}
	policy := notify.DefaultPolicy()
	if policy.Quiet, err = notify.ParseWindow(a.cfg.QuietHours); err != nil {
		return fmt.Errorf("EMSD_QUIET_HOURS: %w", err)
	}
	policy.DailyCap = a.cfg.DailyCap
	metrics := notify.NewMetrics(a.reg, gateways)
	opts := a.cfg.notifyOptions(&policy)
	a.planner = notify.NewPlanner(a.db, a.clock, a.log, metrics)
	a.sender = notify.NewSender(a.db, a.vault, gateways, a.clock, opts, a.log, metrics)
	a.resolver = notify.NewResolver(a.db, a.vault, gateways, a.clock, opts, a.log, metrics)
	a.receipts = notify.NewReceipts(a.db, a.vault, gateways, a.clock, opts, a.log, metrics)
	a.replies = notify.NewReplies(a.db, a.vault, gateways, a.clock, opts, a.log, metrics)
	phones, err := a.cfg.selfTestPhones()
	if err != nil {
		return fmt.Errorf("EMSD_SMS_SELFTEST_PHONES: %w", err)
	}
	a.gateways = list
	a.trials = notify.NewTrials(a.db, a.vault, gateways, a.clock, opts, phones, a.log)
	a.registrations = notify.NewRegistrations(gateways, a.trials, a.cfg.EMS.DeliveryPassword, a.clock, a.log, metrics)
	a.reg.MustRegister(notify.NewTrialCollector(a.db))
	return nil
}

// A vendor is a gateway with an account.
type vendor interface {
	notify.Gateway
	notify.Templated
}

// makeGateway makes the client of one vendor's account.
func (a *app) makeGateway(name string) (vendor, error) {
	switch c := a.cfg; name {
	case "aliyun":
		templates, err := readTemplates(c.Aliyun.Templates)
		if err != nil {
			return nil, err
		}
		return aliyun.New(aliyun.Config{URL: c.Aliyun.URL, AccessKeyID: c.Aliyun.AccessKeyID, AccessKeySecret: string(c.Aliyun.AccessKeySecret),
			SignName: c.Aliyun.SignName, Templates: templates, CAFile: c.Aliyun.CAFile, Now: a.clock.Now, Wall: a.clock.Wall})
	case "tencent":
		templates, err := readTemplates(c.Tencent.Templates)
		if err != nil {
			return nil, err
		}
		return tencent.New(tencent.Config{URL: c.Tencent.URL, SecretID: c.Tencent.SecretID, SecretKey: string(c.Tencent.SecretKey), AppID: c.Tencent.AppID,
			SignName: c.Tencent.SignName, SignID: c.Tencent.SignID, Templates: templates, Region: c.Tencent.Region, PullReplies: c.Tencent.PullReplies, VariableLimit: c.Tencent.VariableLimit, CAFile: c.Tencent.CAFile,
			Now: a.clock.Now, Wall: a.clock.Wall})
	case "mas":
		templates, err := readTemplates(c.MAS.Templates)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(c.MAS.URL, "http:") {
			a.log.Warn("EMSD_SMS_MAS_URL is plain http: numbers and texts are open to everybody on the way; use it inside a closed network only")
			if c.MAS.SecretInBody || c.MAS.Pull || c.MAS.PullReplies {
				a.log.Warn("the secret of the MAS account travels in the clear, because of EMSD_SMS_MAS_SECRET_IN_BODY, _PULL or _PULL_REPLIES")
			}
		}
		return mas.New(mas.Config{URL: c.MAS.URL, ECName: c.MAS.ECName, APID: c.MAS.APID, SecretKey: string(c.MAS.SecretKey), Sign: c.MAS.Sign,
			Templates: templates, Texts: c.MAS.Texts, TemplatePath: c.MAS.TemplatePath, TextPath: c.MAS.TextPath, ReportPath: c.MAS.ReportPath,
			DeliverPath: c.MAS.DeliverPath, Pulls: c.MAS.Pull, PullsReplies: c.MAS.PullReplies, AddSerial: c.MAS.AddSerial, SecretInBody: c.MAS.SecretInBody, CAFile: c.MAS.CAFile})
	}
	return nil, fmt.Errorf("EMSD_SMS: %q is not a gateway", name)
}

// makeSchedule names every round, when it runs, and what wakes it.
func (a *app) makeSchedule() {
	s, spec := &scheduler{log: a.log, done: a.roundDone}, a.cfg.Schedule
	s.pace(a.cfg.TimeScale)
	s.add("inbox", spec.Inbox, a.inbox.Round, courier.WakeInbox)
	s.add("numbers", spec.Numbers, a.orderer.NumberRound)
	s.add("order", spec.Order, a.orderer.OrderRound, courier.WakeOrders)
	s.add("reconcile", spec.Reconcile, a.orderer.ReconcileRound)
	s.add("cancel", spec.Cancel, a.orderer.CancelRound, courier.WakeOrders)
	s.add("intervene", spec.Intervene, a.changes.Round, courier.WakeOrders)
	s.add("label", spec.Label, a.orderer.LabelRound, courier.WakeOrders, courier.WakeEvents)
	s.add("poll", spec.Poll, a.poller.Round, courier.WakePolls)
	s.add("publish", spec.Publish, a.publisher.Round, courier.WakeEvents)
	s.add("send", spec.Send, a.tell, courier.WakePublished, courier.WakeMessages)
	s.add("webhooks", spec.Webhooks, a.tellSubscribers, courier.WakePublished, courier.WakeWebhooks)
	s.add("resolve", spec.Resolve, a.resolve, courier.WakeMessages)
	s.add("replies", spec.Replies, a.replies.Pull)
	s.add("keys", spec.Keys, a.keys)
	s.add("audit", spec.Audit, func(ctx context.Context) error { return audit.Chain(ctx, a.db) })
	s.add("fees", spec.Fees, a.charges)
	s.add("stall", spec.Stall, a.stall)
	s.add("journeys", spec.Journeys, a.journeys.Round, courier.WakePublished)
	s.add("tallies", spec.Tallies, a.tallies.Round, courier.WakePublished)
	s.add("refold", spec.Refold, a.refolder().Round, courier.WakeCodes)
	s.add("uploads", spec.Uploads, a.uploads.Round, courier.WakeUploads)
	s.add("purge", spec.Purge, a.purge)
	s.add("signatures", spec.Signature, a.registrations.Round)
	a.schedule = s
	names := make([]string, len(s.rounds))
	for i, r := range s.rounds {
		names[i] = r.name
	}
	a.rounds = newRoundMetrics(a.reg, names)
}

// A charger gives what EMS charged in the words of package courier.
type charger struct{ client *ems.Client }

// Charge asks EMS (050001).
func (c charger) Charge(ctx context.Context, waybillNo string) (courier.Charge, error) {
	p, err := c.client.Postage(ctx, waybillNo)
	return courier.Charge{Fen: p.TotalFen, WeightG: int(p.FeeWeightG)}, err
}

// charges learns what EMS charged, envelope by envelope and by last month's bill.
func (a *app) charges(ctx context.Context) error {
	return errors.Join(a.fees.Round(ctx), a.service.BillRound(ctx, a.ems))
}

// tell turns news into messages and sends what is due.
func (a *app) tell(ctx context.Context) error {
	planned, sent := a.planner.Round(ctx), a.sender.Round(ctx)
	if errors.Is(sent, notify.ErrStopped) {
		sent = nil // a state that the gateway's own log line and metric tell: messages wait unchanged
	}
	return errors.Join(planned, sent)
}

// resolve stops the numbers that refuse, joins receipts to attempts, then asks about those whose answer was lost.
func (a *app) resolve(ctx context.Context) error {
	return errors.Join(a.replies.Round(ctx), a.receipts.Round(ctx), a.resolver.Round(ctx))
}

// stall tells clerks what does not move: envelopes, and money that does not come.
func (a *app) stall(ctx context.Context) error {
	return errors.Join(a.staller.Round(ctx), a.service.UnpaidRound(ctx))
}

// idempotencyAge is how long an answer can be had again under its key.
const idempotencyAge = 7 * 24 * time.Hour

// uploadAge is how long what a clerk uploaded can be looked at.
const uploadAge = 7 * 24 * time.Hour

// purge makes partitions ahead and drops what nobody needs any more.
func (a *app) purge(ctx context.Context) error {
	keep := tracking.Keep{AnswerDays: a.cfg.KeepAnswersDays, TraceMonths: a.cfg.KeepTracesMonths}
	dropped, err := tracking.DropMonths(ctx, a.db, keep, a.clock.Now())
	if dropped > 0 {
		a.log.Info("months of traces and answers were dropped", "partitions", dropped)
	}
	return errors.Join(err, a.erase(ctx),
		tracking.EnsurePartitions(ctx, a.db, a.clock.Now(), 3),
		a.webhooks.Purge(ctx, a.clock.Wall().AddDate(0, 0, -a.cfg.Webhook.KeepDays)),
		a.service.PurgeIdempotency(ctx, a.clock.Wall().Add(-idempotencyAge)),
		a.tries.Purge(ctx, a.clock.Wall()),
		a.replies.Purge(ctx, a.clock.Now().AddDate(0, 0, -a.cfg.KeepRepliesDays)),
		a.uploads.Purge(ctx, a.clock.Now().Add(-uploadAge)),
		a.staff.Purge(ctx),
	)
}

// erase deletes what is sealed of people whose permits were dealt with long ago.
func (a *app) erase(ctx context.Context) error {
	if a.cfg.KeepPersonsDays == 0 {
		return nil
	}
	erased, err := a.service.Erase(ctx, a.clock.Now().AddDate(0, 0, -a.cfg.KeepPersonsDays))
	if erased > 0 {
		a.log.Info("what was sealed of recipients was erased", "deliveries", erased)
	}
	return err
}

func (a *app) roundDone(ctx context.Context, name string, took time.Duration, err error) {
	a.rounds.seconds.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		a.rounds.runs.WithLabelValues(name, "failed").Inc()
		a.log.Warn("round failed, it runs again at its next turn", "round", name, "error", err)
		return
	}
	a.rounds.runs.WithLabelValues(name, "ok").Inc()
	a.rounds.lastSuccess.WithLabelValues(name).SetToCurrentTime()
}

// A face is a listener and what it serves.
type face struct {
	name    string
	addr    string
	handler http.Handler
	ln      net.Listener
	certs   *certKeeper // nil: plain HTTP
}

// faces makes the three handlers.
func (a *app) faces(stopping <-chan struct{}) []*face {
	mux := http.NewServeMux()
	mux.Handle("/", api.New(a.service, a.orderer, a.timeline, a.db, a.clock, api.Feed{Grew: a.feedGrew.next, Stopping: stopping},
		a.refolder(), a.vault, api.Options{Webhooks: a.hooks, Rate: a.cfg.API.Rate, Burst: a.cfg.API.Burst, Hook: crashHook(), Replies: a.replies, TrackingURL: a.trackingURL,
			Messages: notify.NewReader(a.db), Refusals: notify.NewRefusals(a.db, a.vault), Calls: a.calls()}, a.log))
	pages := a.console()
	mux.Handle("/console", pages)
	mux.Handle("/console/", pages)
	backOffice := web.Log(a.log, mux)
	public := web.Log(a.log, resident.New(resident.Config{EMSSecret: string(a.cfg.EMS.Secret), ReceiptSecret: string(a.cfg.ReceiptSecret)},
		a.pages, a.hints, a.receipts, a.replies, a.receiptForms(), a.clock, a.log))
	ops := opsHandler(a.reg, []check{
		{"database", func(ctx context.Context) error { return a.db.PingContext(ctx) }},
		{"schema", func(ctx context.Context) error { return migrations.Check(ctx, a.db.DB) }},
		{"ems", func(context.Context) error {
			if a.ems.Open() {
				return errors.New("EMS does not answer: orders and tracking wait, intake and messages go on")
			}
			return nil
		}},
	})
	return []*face{{name: "back office", addr: a.cfg.Listen, handler: backOffice, certs: a.certs}, {name: "public", addr: a.cfg.PublicListen, handler: public},
		{name: "operations", addr: a.cfg.OpsListen, handler: ops}}
}

// calls is the list of residents to telephone; who was not reached is called again in office hours.
func (a *app) calls() *notify.Calls {
	return notify.NewCalls(a.db, a.vault, a.service, a.clock, calendar.Office.ByWeek().After)
}

// console makes the clerks' pages.
func (a *app) console() http.Handler {
	return console.New(console.Parts{Staff: a.staff, Service: a.service, Timeline: a.timeline, Hints: a.hints,
		History: tracking.NewHistory(a.db, a.clock, tracking.HistoryOptions{}), Messages: notify.NewReader(a.db), Uploads: a.uploads, Residents: a.pages, Calls: a.calls(), Proxies: a.cfg.TrustedProxies, Refusals: notify.NewRefusals(a.db, a.vault),
		Webhooks: a.hooks,
		Texts:    console.Texts{Gateways: a.gateways, Signatures: a.cfg.signatures(), Passwords: a.cfg.EMS.DeliveryPassword, Registrations: a.registrations},
		Labels:   a.orderer, Press: a.press, Biller: a.ems, TrackingURL: a.trackingURL, Clock: a.clock, Log: a.log})
}

// trackingURL is the address of the resident's page of a delivery; empty when nobody has said under which address the page
// is reached.
func (a *app) trackingURL(delivery uuid.UUID) string {
	if a.cfg.PublicURL == "" {
		return ""
	}
	return strings.TrimSuffix(a.cfg.PublicURL, "/") + "/t/" + resident.NewTokens(a.vault).Of(delivery)
}

// receiptForms are the receipts of the gateways in use.
func (a *app) receiptForms() map[string]resident.ReceiptForm {
	all := map[string]resident.ReceiptForm{
		"aliyun":  {Parse: aliyun.ParseReceipts, ParseReplies: aliyun.ParseReplies, Answer: aliyun.ReceiptAnswer},
		"tencent": {Parse: tencent.ParseReceipts, ParseReplies: tencent.ParseReplies, Answer: tencent.ReceiptAnswer},
		"mas":     {Parse: mas.ParseReceipts, ParseReplies: mas.ParseReplies, Answer: mas.ReceiptAnswer},
	}
	maps.DeleteFunc(all, func(name string, _ resident.ReceiptForm) bool { return !slices.Contains(a.cfg.SMS, name) })
	return all
}

// run serves until ctx ends, then stops in order: no new requests, no new claims, what is in flight is finished,
// and the database is closed last. started gets the three addresses, in the order of faces, once they listen.
func (a *app) run(ctx context.Context, started func(addrs []string)) error {
	if err := a.prepare(ctx); err != nil {
		return err
	}
	faces := a.faces(ctx.Done())
	var addrs []string
	for _, f := range faces {
		ln, err := net.Listen("tcp", f.addr)
		if err != nil {
			closeAll(faces)
			return fmt.Errorf("listen for the %s: %w", f.name, err)
		}
		f.ln = ln
		if f.certs != nil {
			f.ln = tls.NewListener(ln, f.certs.config())
		}
		addrs = append(addrs, ln.Addr().String())
	}
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	var wg sync.WaitGroup
	failed := make(chan error, len(faces))
	servers := make([]*http.Server, len(faces))
	for i, f := range faces {
		servers[i] = &http.Server{Handler: f.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute,
			WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) }}
		wg.Go(func() {
			if err := servers[i].Serve(f.ln); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve the %s: %w", f.name, err)
			}
		})
	}
	wg.Go(func() { listen(work, a.dsn, a.schedule, a.feedGrew, a.log) })
	counted := make(chan struct{})
	wg.Go(func() { countReplicas(work, a.db, a.takePart(sync.OnceFunc(func() { close(counted) })), a.log) })
	wg.Go(func() {
		select {
		case <-counted: // before, chunks would be claimed and wait for a rate that others have
		case <-work.Done():
			return
		}
		if err := a.schedule.run(work); err != nil {
			failed <- err
		}
		a.webhooks.Wait()
	})
	a.log.Info("started", "back_office", addrs[0], "public", addrs[1], "operations", addrs[2], "version", version())
	started(addrs)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.log.Info("stopping: finishing what is in flight")
	stopWork()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownTimeout)
	defer cancel()
	for _, s := range servers {
		if serr := s.Shutdown(grace); serr != nil {
			s.Close()
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		a.log.Info("stopped")
	case <-grace.Done():
		// What such calls came to is asked by the next start (I-4); an operator's stop must not hang on EMS.
		a.log.Warn("stopped with calls in flight")
	}
	return err
}

// prepare does once what the first rounds need.
func (a *app) prepare(ctx context.Context) error {
	if err := checkCalendar(a.clock.Now()); err != nil {
		a.log.Warn("clocks will go by the week", "error", err)
	}
	return tracking.EnsurePartitions(ctx, a.db, a.clock.Now(), 3)
}

// takePart sets this replica's part of the account's rate whenever it changes, and calls counted when it has a real one.
func (a *app) takePart(counted func()) func(part float64) {
	return func(part float64) {
		share := a.cfg.EMS.Rate * part
		a.ems.SetRate(share)
		a.poller.SetRate(share)
		a.log.Info("sharing the EMS rate", "part", part, "per_second", share)
		if part > uncounted {
			counted()
		}
	}
}

func closeAll(faces []*face) {
	for _, f := range faces {
		if f.ln != nil {
			f.ln.Close()
		}
	}
}

func (a *app) close() {
	if a.ems != nil {
		a.ems.Close()
	}
	if a.caller != nil {
		a.caller.Close()
	}
	if a.db != nil {
		a.db.Close()
	}
}

func (c EMSConfig) client(clock courier.Clock) ems.Config {
	return ems.Config{URL: c.URL, SenderNo: c.SenderNo, Authorization: string(c.Authorization), Secret: string(c.Secret), Rate: c.Rate,
		Concurrency: c.Concurrency, Timeout: c.Timeout, CAFile: c.CAFile, InterveneAPI: c.InterveneAPI, InterveneNames: c.InterveneNames,
		Now: clock.Now, Wall: clock.Wall, RetryWait: c.retryWait, BreakerPause: c.breakerPause}
}

func (c Config) orderOptions() courier.OrderOptions {
	o := courier.OrderOptions{Numbers: c.EMS.Numbers, LowWater: c.NumbersLow, RefillTo: c.NumbersRefill, Concurrency: c.OrderConcurrency,
		Lease: c.OrderLease, WeightG: c.WeightG, Sender: c.Sender.party(), Remarks: c.OrderRemarks, RecipientID: c.EMS.RecipientID,
		Password: c.EMS.DeliveryPassword, Hook: crashHook()}
	if c.quickRetries {
		o.ReconcileAfter, o.ReconcileMax, o.RetryAfter, o.RetryMax, o.Reconciles = 300*time.Millisecond, time.Second, 200*time.Millisecond, time.Second, 40
	}
	return o
}

// signatures are the texts that gateways put before ours.
func (c Config) signatures() map[string]string {
	return map[string]string{"aliyun": c.Aliyun.SignName, "tencent": c.Tencent.SignName, "mas": c.MAS.SignName}
}

func (c Config) notifyOptions(policy *notify.Policy) notify.Options {
	o := notify.Options{Policy: policy, Hook: crashHook(), ResendIfAbsent: map[notify.Milestone]bool{},
		Signatures: c.signatures(), Rate: c.SMSRate}
	for _, m := range c.ResendIfAbsent {
		o.ResendIfAbsent[notify.Milestone(m)] = true
	}
	if c.quickRetries {
		o.ResolveAfter = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}
		o.RetryAfter, o.RetryMax, o.MaxTries, o.Lease, o.PostTimeout = 200*time.Millisecond, time.Second, 40, 5*time.Second, 3*time.Second
		o.StopFor, o.PauseFor, o.ReceiptWait = 2*time.Second, 500*time.Millisecond, 10*time.Second
	}
	return o
}

func (s Sender) party() courier.Party {
	return courier.Party{Name: vault.Conceal(s.Name), Phone: vault.Conceal(s.Phone), Province: s.Province, City: s.City, County: s.County, Address: vault.Conceal(s.Address)}
}
