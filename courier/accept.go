package courier

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"emsd/courier/audit"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// An Intake is an application on its way in, with what its row told beyond it and what was wrong with its form. One
// with Faults is not taken in; it is checked all the same, so that its sender learns everything at once.
type Intake struct {
	Application
	Extras RowExtras
	Faults Faults
}

// An Outcome says what became of an Intake.
type Outcome string

const (
	Created       Outcome = "created"   // a new delivery
	Existing      Outcome = "existing"  // the same application has a delivery already
	RefusedByRule Outcome = "refused"   // a rule says no; recorded as a refused delivery
	LivePermit    Outcome = "live"      // another delivery of the permit is in the way; nothing is recorded
	PickedUp      Outcome = "picked_up" // the permit of this issue was handed out at the counter; nothing is recorded
	Faulty        Outcome = "faulty"    // nothing is recorded
)

// A Result is what became of one Intake. Delivery is the one made, found, refused or in the way.
type Result struct {
	Outcome    Outcome
	Delivery   Delivery
	Faults     Faults
	Paid       bool  // the payment of Extras is recorded, now or before
	PaymentErr error // why it is not: Faults or *Conflict; the delivery stands all the same
}

// Accept takes in approved permits: each becomes a delivery that waits for payment or to be ordered, or is refused by
// a rule and recorded so. The results are in the order of apps. Taking the same application in again changes nothing.
func (s *Service) Accept(ctx context.Context, apps []Application) ([]Result, error) {
	intakes := make([]Intake, len(apps))
	for i, a := range apps {
		intakes[i].Application = a
	}
	return s.AcceptPaid(ctx, intakes, "")
}

// AcceptPaid is Accept with the payments that came in the same rows, recorded as by. All or nothing is committed; what
// is wrong with one intake never stops another.
func (s *Service) AcceptPaid(ctx context.Context, intakes []Intake, by string) (results []Result, err error) {
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		if results, err = s.acceptIn(ctx, tx, intakes, by); err != nil {
			return err
		}
		return audit.Queue(ctx, tx, acceptEntry(results, by, s.clock.Now())...)
	})
	return results, err
}

// Preview says what AcceptPaid would do and writes nothing. Deliveries that it would make have no id, and payments are
// not looked at.
func (s *Service) Preview(ctx context.Context, intakes []Intake, _ string) ([]Result, error) {
	b, err := s.prepare(ctx, s.db, intakes)
	if err != nil {
		return nil, err
	}
	if err := b.know(ctx, s.db, b.open()); err != nil {
		return nil, err
	}
	b.decide(b.open())
	for i := range b.results {
		if d := &b.results[i].Delivery; b.made[d.ID] {
			d.ID = uuid.Nil
		}
	}
	return b.results, nil
}

// A candidate is an intake that may become a delivery.
type candidate struct {
	index     int // in the results
	app       Application
	class     string
	judgement Judgement
	quote     Quotation
	content   []byte
	settled   bool
	fresh     bool         // the delivery in its result is to be inserted
	found     *deliveryRow // the row of the delivery in its result, when the same application has one
}

// A batch is the work of one AcceptPaid.
type batch struct {
	s          *Service
	now, wall  time.Time
	results    []Result
	candidates []*candidate
	known      map[string][]knownDelivery // by permit
	made       map[uuid.UUID]bool         // ids that this batch gave
}

// A knownDelivery is one that the permit of a candidate has already, in the database or earlier in the batch.
type knownDelivery struct {
	Delivery
	content  string
	row      *deliveryRow // nil when it is new
	pickedUp bool         // came back and was handed out at the counter
}

// acceptTries bounds how often a batch looks again because another client took in the same permits meanwhile.
const acceptTries = 8

func (s *Service) acceptIn(ctx context.Context, tx *sqlx.Tx, intakes []Intake, by string) ([]Result, error) {
	b, err := s.prepare(ctx, tx, intakes)
	if err != nil {
		return nil, err
	}
	for n := 0; len(b.open()) > 0; n++ {
		if n == acceptTries {
			return nil, errors.New("accept: other clients keep taking in the same permits")
		}
		open := b.open()
		if err := b.know(ctx, tx, open); err != nil {
			return nil, err
		}
		b.decide(open)
		if err := b.insert(ctx, tx, open); err != nil {
			return nil, err
		}
	}
	if err := b.unseal(); err != nil {
		return nil, err
	}
	if err := b.pay(ctx, tx, intakes, by); err != nil {
		return nil, err
	}
	return b.results, nil
}

// unseal gives deliveries that were found the recipient they have now: the address may have been changed since it was
// posted.
func (b *batch) unseal() (err error) {
	for _, c := range b.candidates {
		if res := &b.results[c.index]; c.found != nil && res.Outcome == Existing {
			if res.Delivery, err = c.found.unsealed(b.s.vault); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare checks, judges and prices every intake by the stations, policies and tariffs of this moment.
func (s *Service) prepare(ctx context.Context, q sqlx.QueryerContext, intakes []Intake) (*batch, error) {
	b := &batch{s: s, now: s.clock.Now(), wall: s.clock.Wall(), results: make([]Result, len(intakes)), known: map[string][]knownDelivery{}, made: map[uuid.UUID]bool{}}
	apps, codes := make([]Application, len(intakes)), make([]string, len(intakes))
	for i, in := range intakes {
		apps[i] = Normalise(in.Application)
		codes[i] = apps[i].StationCode
	}
	stations, err := readStations(ctx, q, codes)
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(ctx, q, b.now)
	if err != nil {
		return nil, err
	}
	tariffs, err := readTariffs(ctx, q, b.now)
	if err != nil {
		return nil, err
	}
	for i, in := range intakes {
		c, faults := s.candidate(apps[i], stations, policies, tariffs, b.now)
		if faults = merge(in.Faults, faults); len(faults) > 0 {
			b.results[i] = Result{Outcome: Faulty, Faults: faults}
			continue
		}
		c.index = i
		b.candidates = append(b.candidates, c)
	}
	return b, nil
}

// candidate tells all that is wrong with an application, or makes a candidate of it.
func (s *Service) candidate(a Application, stations map[string]Station, policies []Policy, tariffs []Tariff, now time.Time) (*candidate, Faults) {
	faults := Validate(a, now)
	st, ok := stations[a.StationCode]
	if !ok && a.StationCode != "" {
		faults = merge(faults, Faults{{"station_code", "unknown_station", "没有这个受理点，请核对编码，或请管理员先导入受理点（emsd import stations.csv）"}})
	}
	if known := payerOf(a.PaymentMethod) == "applicant"; known && !slices.Contains(s.opts.PaymentMethods, a.PaymentMethod) {
		faults = merge(faults, Faults{{"payment_method", "not_offered", "目前不开通该付费方式，可用：" + strings.Join(s.opts.PaymentMethods, "、")}})
	}
	if !ok {
		return nil, faults
	}
	c := &candidate{app: a, class: st.Class(), judgement: Judge(a, st, policies, now)}
	if c.judgement.Allowed {
		c.judgement = secondLine(a, st)
	}
	if c.judgement.Allowed {
		var priced bool
		if c.quote, priced = Quote(tariffs, a.Recipient.Province, s.opts.WeightG, now); !priced {
			faults = merge(faults, Faults{{"recipient.province", "no_tariff", "目前没有寄往该省的资费，请管理员导入资费（emsd import tariffs.csv）"}})
		}
	}
	if len(faults) == 0 {
		c.content = s.vault.Lookup("deliveries.content", contentOf(a))
	}
	return c, faults
}

// contentOf writes everything that was posted in one unmistakable way, so that the same application is recognised by
// a hash of it. A language is part of it only when it is not Chinese: what was posted before languages came is the same
// application still.
func contentOf(a Application) string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	r := a.Recipient
	for _, s := range []string{a.PermitNo, a.ApplicationNo, a.Business, a.Route, a.Ground, strconv.FormatBool(a.IdentityChanged),
		strconv.FormatBool(a.AddressChanged), a.StationCode, a.Consent.Source, instant(a.Consent.At), a.Consent.NoticeVersion, instant(a.ApprovedAt),
		a.PaymentMethod, r.Name.Reveal(), r.Phone.Reveal(), r.IDNo.Reveal(), r.Province, r.City, r.County, r.Address.Reveal()} {
		part(s)
	}
	if r.Language != "" && r.Language != InChinese {
		part(r.Language)
	}
	return b.String()
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// open lists the candidates about which nothing is settled yet.
func (b *batch) open() []*candidate {
	var open []*candidate
	for _, c := range b.candidates {
		if !c.settled {
			open = append(open, c)
		}
	}
	return open
}

// know reads what deliveries the permits of open candidates have.
func (b *batch) know(ctx context.Context, q sqlx.QueryerContext, open []*candidate) error {
	if len(open) == 0 {
		return nil
	}
	permits := make([]string, len(open))
	for i, c := range open {
		permits[i] = c.app.PermitNo
		delete(b.known, c.app.PermitNo)
	}
	rows, err := deliveriesOfPermits(ctx, q, permits)
	if err != nil {
		return err
	}
	picked, err := pickedUpOf(ctx, q, rows)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		b.known[r.PermitNo] = append(b.known[r.PermitNo], knownDelivery{r.delivery(), string(r.Content), r, picked[r.ID]})
	}
	return nil
}

// pickedUpOf tells which of some deliveries ended at the counter. A transaction locks those whose envelope may come, or
// has come, to the counter until it ends: a permit is handed out or sent again, never both.
func pickedUpOf(ctx context.Context, q sqlx.QueryerContext, rows []deliveryRow) (map[uuid.UUID]bool, error) {
	var back []uuid.UUID
	for i := range rows {
		if rows[i].Status == Returned || rows[i].Status == Lost {
			back = append(back, rows[i].ID)
		}
	}
	if len(back) == 0 {
		return nil, nil
	}
	if tx, ok := q.(*sqlx.Tx); ok {
		if _, err := lockDeliveries(ctx, tx, back); err != nil {
			return nil, err
		}
	}
	return readPickedUp(ctx, q, back)
}

// decide gives every open candidate its result, in order: an earlier one of the batch counts for a later one.
func (b *batch) decide(open []*candidate) {
	for _, c := range open {
		c.fresh, c.found = false, nil
		res := &b.results[c.index]
		if k, found := b.match(c); found {
			res.Outcome, res.Delivery = Existing, k.Delivery
			if k.Status == Refused {
				res.Outcome = RefusedByRule
			}
			res.Delivery.Recipient, c.found = c.app.Recipient, k.row
			continue
		}
		d := b.deliveryOf(c)
		if d.Status != Refused {
			if k, blocked := b.inTheWay(c); blocked {
				res.Outcome, res.Delivery = LivePermit, k.Delivery
				if k.pickedUp {
					res.Outcome = PickedUp
				}
				continue
			}
		}
		res.Outcome, res.Delivery, c.fresh, b.made[d.ID] = Created, d, true, true
		if d.Status == Refused {
			res.Outcome = RefusedByRule
		}
		b.known[c.app.PermitNo] = append(b.known[c.app.PermitNo], knownDelivery{Delivery: d, content: string(c.content)})
	}
}

// match finds the delivery that the same application has. A refusal counts only while the same rule still refuses:
// what was refused under yesterday's policy may be taken in today.
func (b *batch) match(c *candidate) (knownDelivery, bool) {
	known := b.known[c.app.PermitNo]
	for i := len(known) - 1; i >= 0; i-- {
		if k := known[i]; k.content == string(c.content) && k.Status != Refused {
			return k, true
		}
	}
	for i := len(known) - 1; i >= 0; i-- {
		if k := known[i]; k.content == string(c.content) && k.Rule == c.judgement.Rule {
			return k, true
		}
	}
	return knownDelivery{}, false
}

// inTheWay finds the delivery that keeps another one of the permit from being made (I-3): a live one, or one that
// brought the permit of this very issue, to the door or to the counter.
func (b *batch) inTheWay(c *candidate) (knownDelivery, bool) {
	for _, k := range b.known[c.app.PermitNo] {
		if k.Status.Live() || (k.Status == Delivered || k.pickedUp) && k.ApplicationNo == c.app.ApplicationNo {
			return k, true
		}
	}
	return knownDelivery{}, false
}

// deliveryOf makes the delivery that a candidate becomes.
func (b *batch) deliveryOf(c *candidate) Delivery {
	d := Delivery{
		ID: uuid.Must(uuid.NewV7()), Application: c.app, StationClass: c.class, StatusSince: b.now, Seq: 1, CreatedAt: b.now, UpdatedAt: b.now,
		Zone: c.quote.Zone, FeeFen: c.quote.Fen,
	}
	switch {
	case !c.judgement.Allowed:
		d.Status, d.Rule, d.Reason = Refused, c.judgement.Rule, c.judgement.Text()
	case c.app.PaymentMethod == Collect || d.FeeFen == 0:
		d.Status = Approved
	default:
		d.Status = AwaitingPayment
	}
	if d.Status != Refused {
		d.Supersedes = b.superseded(c)
	}
	return d
}

// superseded finds the delivery of this issue that ended without reaching the holder and that the new one follows.
func (b *batch) superseded(c *candidate) uuid.UUID {
	known := b.known[c.app.PermitNo]
	for i := len(known) - 1; i >= 0; i-- {
		if k := known[i]; k.ApplicationNo == c.app.ApplicationNo && (k.Status == Returned || k.Status == Lost) {
			return k.ID
		}
	}
	return uuid.Nil
}

// insert writes the fresh deliveries with their first events. Where another client was faster, the candidate stays
// open, and so does every other that was decided by what was not written.
func (b *batch) insert(ctx context.Context, tx *sqlx.Tx, open []*candidate) error {
	var fresh []*candidate
	for _, c := range open {
		if c.fresh {
			fresh = append(fresh, c)
		}
	}
	written, err := b.insertDeliveries(ctx, tx, fresh)
	if err != nil {
		return err
	}
	if err := b.sendAgain(ctx, tx, fresh, written); err != nil {
		return err
	}
	lost := map[uuid.UUID]bool{}
	for _, c := range fresh {
		if id := b.results[c.index].Delivery.ID; !written[id] {
			lost[id] = true
		}
	}
	for _, c := range open {
		c.settled = !lost[b.results[c.index].Delivery.ID]
	}
	return nil
}

// pay records the payments that came with the intakes.
func (b *batch) pay(ctx context.Context, tx *sqlx.Tx, intakes []Intake, by string) error {
	var payments []Payment
	var at []int
	for i, in := range intakes {
		switch o := b.results[i].Outcome; {
		case in.Extras.TransactionNo == "" || o == Faulty || o == LivePermit || o == PickedUp:
		default:
			payments = append(payments, Payment{DeliveryID: b.results[i].Delivery.ID, TransactionNo: in.Extras.TransactionNo, Method: MethodUnstated,
				AmountFen: in.Extras.PaidFen, PaidAt: b.now, RecordedBy: by})
			at = append(at, i)
		}
	}
	if len(payments) == 0 {
		return nil
	}
	paid, err := b.s.payIn(ctx, tx, payments, b.now, b.wall)
	if err != nil {
		return err
	}
	for j, p := range paid {
		res := &b.results[at[j]]
		res.Paid, res.PaymentErr = p.Err == nil, p.Err
		if p.Err == nil {
			recipient := res.Delivery.Recipient
			res.Delivery = p.Delivery
			res.Delivery.Recipient = recipient
		}
	}
	return nil
}
