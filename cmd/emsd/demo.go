package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"emsd/cmd/emsd/internal/resident"
	"emsd/courier"
	"emsd/courier/emssim"
	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/migrations"
	"emsd/migrations/privatepg"
	"emsd/notify/smssim"
)

type demoCmd struct {
	Permits     string        `default:"courier/testdata/permits.jsonl" help:"Permits to send (.jsonl, .csv, .xlsx)."`
	Stations    string        `default:"courier/testdata/stations.csv" help:"Stations they come from."`
	Tariffs     string        `default:"courier/testdata/tariffs.csv" help:"Postage by destination."`
	Speed       float64       `default:"15000" help:"Simulated seconds per second."`
	Keep        bool          `help:"Leave everything running and print the addresses and a token."`
	DatabaseURL string        `help:"Use this server instead of a private one; the database must be empty." env:"-"`
	Faults      bool          `help:"The simulators lose replies, repeat, reorder and fail."`
	SMS         []string      `default:"aliyun" help:"SMS gateways in order of preference: aliyun, mas, tencent." enum:"aliyun,mas,tencent"`
	Limit       time.Duration `default:"5m" help:"Give up after this long."`
}

// Run plays the main job end to end: permits in, envelopes out, every one followed to the door. It fails unless every
// check holds.
func (c demoCmd) Run(e *world) (err error) {
	if c.Speed < 1 {
		return usageError{errors.New("--speed: at least 1")}
	}
	began := time.Now()
	d := &demo{cmd: c, env: e, started: began}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(e.ctx, c.Limit)
	defer cancel()
	if err := d.play(ctx); err != nil {
		return err
	}
	if c.Keep {
		return d.keep()
	}
	return nil
}

// A demo is one run: a database, the simulators and the daemon in this process, on one clock.
type demo struct {
	cmd     demoCmd
	env     *world
	started time.Time

	dir    string
	pg     *privatepg.Server
	pace   *pace
	clock  courier.Clock
	ems    *emssim.Carrier
	sms    *smssim.Gateway
	simURL string

	subscriber *demoSubscriber
	hookURL    string

	app   *app
	addrs []string // back office, public, operations
	logs  logBook
	out   io.Writer

	cancel context.CancelFunc
	wait   sync.WaitGroup
	failed chan error
}

// demoTemplates maps milestones to the template codes that the simulated gateway knows.
const demoTemplates = `{"payment_due":"SMS_900000001","handed_over":"SMS_900000002","out_for_delivery":"SMS_900000003",` +
	`"attempt_failed":"SMS_900000004","held":"SMS_900000005","delivered":"SMS_900000006","returned":"SMS_900000007","cancelled":"SMS_900000008"}`

// demoEnglish are the templates for residents who chose English. Only the first gateway has them: the others tell those in
// Chinese.
const demoEnglish = `"payment_due.en":"SMS_900000101","handed_over.en":"SMS_900000102","out_for_delivery.en":"SMS_900000103",` +
	`"attempt_failed.en":"SMS_900000104","held.en":"SMS_900000105","delivered.en":"SMS_900000106","returned.en":"SMS_900000107","cancelled.en":"SMS_900000108"}`

// demoBilingual has both.
var demoBilingual = strings.TrimSuffix(demoTemplates, "}") + "," + demoEnglish

// The templates of the other gateways have the same numbers, and the demo's account at Tencent has a limit that a waybill
// number fits.
const (
	demoPrefix        = "SMS_"
	demoVariableLimit = 20
)

// start makes everything and waits until the daemon listens.
func (d *demo) start() (err error) {
	d.out = d.env.out
	d.failed = make(chan error, 4)
	ctx, cancel := context.WithCancel(d.env.ctx)
	d.cancel = cancel
	if d.dir, err = os.MkdirTemp("", "emsd-demo-"); err != nil {
		return err
	}
	dsn := d.cmd.DatabaseURL
	if dsn == "" {
		fmt.Fprintln(d.out, "starting a private PostgreSQL …")
		if d.pg, err = privatepg.Start(ctx, privatepg.Options{}); err != nil {
			return err
		}
		dsn = d.pg.DSN("postgres")
	}
	d.pace = newPace(d.cmd.Speed, time.Now())
	d.clock = d.pace.clock()
	cfg, err := d.config(dsn)
	if err != nil {
		return err
	}
	if err := d.migrate(ctx, cfg); err != nil {
		return err
	}
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg.PublicListen = public.Addr().String() // the simulators must know it before the daemon has it
	public.Close()
	if err := d.simulate(ctx, &cfg); err != nil {
		return err
	}
	if err := d.subscribe(ctx, &cfg); err != nil {
		return err
	}
	if d.app, err = newApp(ctx, cfg, d.clock, d.logs.logger()); err != nil {
		return err
	}
	if err := d.register(ctx); err != nil {
		return err
	}
	listening := make(chan []string, 1)
	d.wait.Go(func() {
		if err := d.app.run(ctx, func(addrs []string) { listening <- addrs }); err != nil {
			d.failed <- err
		}
	})
	select {
	case d.addrs = <-listening:
		return nil
	case err := <-d.failed:
		return err
	}
}

func (d *demo) config(dsn string) (Config, error) {
	key, err := vault.NewMasterKey()
	if err != nil {
		return Config{}, err
	}
	keyFile := filepath.Join(d.dir, "master.key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		return Config{}, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Config{}, err
	}
	d.simURL = "http://" + ln.Addr().String()
	ln.Close()
	environ := []string{
		"EMSD_DATABASE_URL=" + dsn, "EMSD_MASTER_KEY_FILE=" + keyFile, "EMSD_LISTEN=127.0.0.1:0", "EMSD_PUBLIC_LISTEN=127.0.0.1:0", "EMSD_OPS_LISTEN=127.0.0.1:0",
		"EMSD_EMS_URL=" + d.simURL + emssim.PathOpen, "EMSD_EMS_SENDER_NO=" + emssim.SampleSenderNo,
		"EMSD_EMS_AUTHORIZATION=" + emssim.SampleAuthorization, "EMSD_EMS_SECRET=" + emssim.SampleSecret,
		"EMSD_EMS_RATE=2000", "EMSD_API_RATE=10000", "EMSD_API_BURST=10000", "EMSD_EMS_TIMEOUT=3s", "EMSD_ORDER_LEASE=5s", "EMSD_LOG_LEVEL=debug",
		"EMSD_SMS=" + strings.Join(d.cmd.SMS, ","),
		"EMSD_SMS_RECEIPT_SECRET=demo-receipts", "EMSD_SMS_RATE=2000",
		"EMSD_SENDER_NAME=示例派出所", "EMSD_SENDER_PHONE=01080000000", "EMSD_SENDER_PROVINCE=北京市", "EMSD_SENDER_CITY=北京市",
		"EMSD_SENDER_COUNTY=东城区", "EMSD_SENDER_ADDRESS=示例东路1号", "EMSD_SECOND_FACTOR=off", fmt.Sprintf("EMSD_TIME_SCALE=%g", d.cmd.Speed),
		"EMSD_SCHEDULE_RECONCILE=@every 1s", "EMSD_SCHEDULE_RESOLVE=@every 1s", "EMSD_SCHEDULE_POLL=@every 1s", "EMSD_SCHEDULE_SEND=@every 1s",
		"EMSD_SCHEDULE_WEBHOOKS=@every 1s", "EMSD_SCHEDULE_CANCEL=@every 1s",
	}
	cfg, err := readConfig(append(environ, simulatedAccounts(d.simURL)...))
	cfg.quickRetries = true
	return cfg, err
}

// simulatedAccounts are the settings of the accounts that the simulated gateways at url know.
func simulatedAccounts(url string) []string {
	return []string{
		"EMSD_SMS_ALIYUN_URL=" + url + smssim.PrefixAliyun, "EMSD_SMS_ALIYUN_ACCESS_KEY_ID=" + smssim.SampleAccessKeyID,
		"EMSD_SMS_ALIYUN_ACCESS_KEY_SECRET=" + smssim.SampleAccessKeySecret, "EMSD_SMS_ALIYUN_SIGN_NAME=" + smssim.SampleSignName,
		"EMSD_SMS_ALIYUN_TEMPLATES=" + demoBilingual,
		"EMSD_SMS_TENCENT_URL=" + url + smssim.PrefixTencent, "EMSD_SMS_TENCENT_SECRET_ID=" + smssim.SampleSecretID,
		"EMSD_SMS_TENCENT_SECRET_KEY=" + smssim.SampleSecretKey, "EMSD_SMS_TENCENT_APP_ID=" + smssim.SampleAppID, "EMSD_SMS_TENCENT_SIGN_NAME=" + smssim.SampleSignName,
		"EMSD_SMS_TENCENT_TEMPLATES=" + strings.ReplaceAll(demoTemplates, demoPrefix, ""), fmt.Sprintf("EMSD_SMS_TENCENT_VARIABLE_LIMIT=%d", demoVariableLimit),
		"EMSD_SMS_MAS_URL=" + url + smssim.PrefixMAS, "EMSD_SMS_MAS_EC_NAME=" + smssim.SampleECName, "EMSD_SMS_MAS_AP_ID=" + smssim.SampleAPID,
		"EMSD_SMS_MAS_SECRET_KEY=" + smssim.SampleMASSecret, "EMSD_SMS_MAS_SIGN=" + smssim.SampleMASSign, "EMSD_SMS_MAS_SIGN_NAME=" + smssim.SampleSignName,
		"EMSD_SMS_MAS_TEMPLATES=" + strings.ReplaceAll(demoTemplates, demoPrefix, ""),
	}
}

func (d *demo) migrate(ctx context.Context, cfg Config) error {
	db, err := openDatabase(ctx, string(cfg.DatabaseURL), 4)
	if err != nil {
		return err
	}
	defer db.Close()
	return migrations.Up(ctx, db.DB)
}

// simulate starts EMS and the SMS gateway on the address that the daemon will call.
func (d *demo) simulate(ctx context.Context, cfg *Config) error {
	public := "http://" + cfg.PublicListen
	sms := smssim.Config{Templates: nil, Now: d.clock.Now, Seed: 1, ReceiptTo: public + "/sms/aliyun/receipts/demo-receipts",
		Tencent: smssim.Tencent{VariableLimit: demoVariableLimit, ReceiptTo: public + "/sms/tencent/receipts/demo-receipts"},
		MAS:     smssim.MAS{ReceiptTo: public + "/sms/mas/receipts/demo-receipts"}}
	ems := emssim.Config{Now: d.clock.Now, Seed: 1, PushTo: public + "/ems/push"}
	if d.cmd.Faults {
		sms.LateReceipts, sms.TwiceReceipts, sms.LostReceipts = 0.1, 0.1, 0.1
		ems.LateScans, ems.RepeatScans, ems.PushDuplicate, ems.PushDisorder, ems.PushLose = 0.05, 0.05, 0.2, 0.2, 0.2
	}
	d.sms = smssim.New(sms)
	ems.Messages = func() any { return d.sms.Messages() }
	d.ems = emssim.New(ems)
	if d.cmd.Faults {
		d.misbehave()
	}
	mux := http.NewServeMux()
	mux.Handle("/sim/", d.ems.ControlHandler())
	for _, prefix := range []string{smssim.PrefixAliyun, smssim.PrefixTencent, smssim.PrefixMAS} {
		mux.Handle(prefix, d.sms)
	}
	mux.Handle("/", d.ems)
	ln, err := net.Listen("tcp", strings.TrimPrefix(d.simURL, "http://"))
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	d.wait.Go(func() { srv.Serve(ln) })
	d.wait.Go(func() {
		<-ctx.Done()
		srv.Close()
	})
	d.wait.Go(func() { d.ems.Run(ctx) })
	d.wait.Go(func() { d.sms.Run(ctx) })
	return nil
}

// misbehave sets the faults of --faults.
func (d *demo) misbehave() {
	for _, f := range []emssim.Fault{
		{API: "020003", Kind: emssim.LoseReply, Rate: 0.1}, {API: "020003", Kind: emssim.LoseRequest, Rate: 0.05},
		{API: "020003", Kind: emssim.HTTP502, Rate: 0.05}, {API: "020003", Kind: emssim.DuplicateWaybill, Rate: 0.03},
		{API: "020003", Kind: emssim.Truncate, Rate: 0.03}, {API: "020003", Kind: emssim.WrongEcho, Rate: 0.02},
		{API: "020006", Kind: emssim.LoseReply, Rate: 0.2}, {API: "010004", Kind: emssim.HTML, Rate: 0.1}, {API: "010004", Kind: emssim.HTTP502, Rate: 0.1},
		{API: "040001", Kind: emssim.LoseReply, Rate: 0.03}, {API: "040001", Kind: emssim.HTTP502, Rate: 0.03}, {API: "040001", Kind: emssim.Stale, Rate: 0.03},
		{API: "040001", Kind: emssim.HTML, Rate: 0.02},
	} {
		d.ems.SetFault(f)
	}
	for _, api := range []string{"SendSms", "tmpsubmit"} {
		for _, f := range []smssim.Fault{
			{Kind: smssim.LoseReply, Rate: 0.1}, {Kind: smssim.LoseRequest, Rate: 0.05}, {Kind: smssim.HTTP502, Rate: 0.05}, {Kind: smssim.Throttle, Rate: 0.05},
		} {
			f.API = api
			d.sms.SetFault(f)
		}
	}
	if len(d.cmd.SMS) > 1 { // the first gateways are refused for a while now and then, so that every one of them is needed
		for _, gateway := range d.cmd.SMS[:len(d.cmd.SMS)-1] {
			for _, api := range []string{"SendSms", "tmpsubmit"} {
				d.sms.SetFault(smssim.Fault{Gateway: gateway, API: api, Kind: smssim.OutOfMoney, Rate: 0.05})
			}
		}
	}
}

// keptSpeed is how fast the clock goes on, at most, when the demo is kept: a day in two and a half minutes, so that an envelope
// that somebody posts by hand arrives while they watch, a page that they read stays true, and the machine is nearly idle.
const keptSpeed = 600

// keep leaves everything running until a signal, at a pace for people.
func (d *demo) keep() error {
	speed := min(d.cmd.Speed, keptSpeed)
	d.pace.change(speed)
	d.app.schedule.pace(speed)
	d.logs.close()
	secret, _, err := d.app.service.CreateToken(d.env.ctx, "demo", []string{"admin"}, 0, operator())
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nrunning until interrupted, at %g simulated seconds per second:\n  console      http://%s/console/\n  back office  http://%s/v1/deliveries\n  public       http://%s\n  operations   http://%s/metrics\n  simulators   %s/sim/ledger\n  token        %s\n  database     %s\n",
		speed, d.addrs[0], d.addrs[0], d.addrs[1], d.addrs[2], d.simURL, secret, d.databaseURL())
	if err := d.signIns(); err != nil {
		return err
	}
	if err := d.trackingPages(); err != nil {
		return err
	}
	select {
	case <-d.env.ctx.Done():
		return nil
	case err := <-d.failed:
		return err
	}
}

// signIns makes a user of each role and prints how to sign in. The passwords are drawn, so that a demo that somebody forgot
// has no well-known one, and must not be changed first, so that all can be tried at once.
func (d *demo) signIns() error {
	station, err := busiestStation(d.env.ctx, d.app.db)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "  sign-ins     name, password, role\n")
	for _, u := range []staff.User{
		{Name: "chuangkou", FullName: "演示窗口", Role: staff.Counter, Station: station}, {Name: "houtai", FullName: "演示后台", Role: staff.BackOffice},
		{Name: "zhuguan", FullName: "演示主管", Role: staff.Supervisor}, {Name: "guanli", FullName: "演示管理员", Role: staff.Administrator},
		{Name: "shenji", FullName: "演示审计", Role: staff.Auditor},
	} {
		made, password, err := d.app.staff.Create(d.env.ctx, u, "", operator())
		if err != nil {
			return err
		}
		if err := d.app.staff.KeepPassword(d.env.ctx, made.ID, operator()); err != nil {
			return err
		}
		fmt.Fprintf(d.out, "               %-10s %-20s %s %s\n", made.Name, password, made.Role, made.Station)
	}
	return nil
}

// trackingPages prints residents' pages with the digits that open them, one for each of some statuses. The people are invented.
func (d *demo) trackingPages() error {
	rows, err := demoDeliveries(d.env.ctx, d.app.db)
	if err != nil {
		return err
	}
	shown := map[courier.Status]bool{courier.Refused: true, courier.Cancelled: true}
	fmt.Fprintf(d.out, "  residents    page, last four digits of the phone, status\n")
	for _, r := range rows {
		if shown[r.Status] {
			continue
		}
		shown[r.Status] = true
		holder, err := d.app.service.HolderOf(d.env.ctx, r.ID)
		if err != nil {
			return err
		}
		phone := holder.Phone.Reveal()
		fmt.Fprintf(d.out, "               http://%s/t/%s  %s  %s\n", d.addrs[1], resident.NewTokens(d.app.vault).Of(r.ID), phone[len(phone)-4:], r.Status)
	}
	return nil
}

func (d *demo) databaseURL() string {
	if d.pg != nil {
		return d.pg.DSN("postgres")
	}
	return "as given"
}

// stop ends what start began, in reverse.
func (d *demo) stop() error {
	if d.cancel != nil {
		d.cancel()
	}
	d.wait.Wait()
	if d.app != nil {
		d.app.close()
	}
	var err error
	if d.pg != nil {
		err = d.pg.Stop()
	}
	if d.dir != "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}

// A logBook keeps everything that is logged until it is closed, at the finest level, to be searched for personal data.
type logBook struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	closed bool
}

// close forgets what was logged, and what will be.
func (l *logBook) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf, l.closed = bytes.Buffer{}, true
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(b), nil
	}
	return l.buf.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
