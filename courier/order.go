package courier

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Where waybill numbers come from (EMSD_EMS_NUMBERS).
const (
	NumbersReserved = "reserved" // 020002 before the order: an unknown outcome can be asked for and repeated
	NumbersAssigned = "assigned" // EMS assigns one with the order: an unknown outcome is a case, never repeated
)

// OrderOptions says how orders are made. Times are wall times unless they say otherwise; zero values take the default
// given here.
type OrderOptions struct {
	Numbers  string // NumbersReserved
	Product  string // what the pool of numbers is kept for; "1"
	LowWater int    // the pool is refilled below this; 1,000
	RefillTo int    // up to this; 5,000

	// Chunk times Lanes is what may wait for a call at once. A call that could not end within the lease is not begun,
	// so that the calls which the account's rate allows within half a lease are a sensible upper bound.
	Chunk       int // deliveries per transaction; 500
	Lanes       int // chunks in flight; 4
	Concurrency int // calls in flight, over all rounds; 64

	Lease      time.Duration // how long a claim holds; no call outlives it; 2 min
	Reconciles int           // rounds of asking and repeating before a clerk is called; 8

	ReconcileAfter time.Duration // first wait after an unknown outcome, doubled each time; EMS needs about 3 s for a label; 10 s
	ReconcileMax   time.Duration // 30 min
	RetryAfter     time.Duration // first wait after a call that never left, doubled each time; 5 s
	RetryMax       time.Duration // 5 min

	FirstPoll  time.Duration // business time from the order to the first question for its trace; 30 min
	CaseWithin time.Duration // business time a clerk has for a case of ordering; 4 h

	Sender   Party  // of stations that have no complete record of their own
	WeightG  int    // 50
	Contents string // cargo name; 证件
	Remarks  string // note to the courier, up to 200 characters

	RecipientID bool // tell EMS the holder's ID number, so that the courier checks a document
	Password    bool // 密码投递: make six digits for each order, which the resident gets by SMS only

	Hook func(point string) // tests stop the process in it; see OrderPoints
}

func (o OrderOptions) withDefaults() OrderOptions {
	o.Numbers = cmp.Or(o.Numbers, NumbersReserved)
	o.Product = cmp.Or(o.Product, "1")
	o.Chunk = cmp.Or(o.Chunk, 500)
	o.LowWater = cmp.Or(o.LowWater, 1000)
	o.RefillTo = max(cmp.Or(o.RefillTo, 5000), o.LowWater)
	o.Lanes = cmp.Or(o.Lanes, 4)
	o.Concurrency = cmp.Or(o.Concurrency, 64)
	o.Lease = cmp.Or(o.Lease, 2*time.Minute)
	o.Reconciles = cmp.Or(o.Reconciles, 8)
	o.ReconcileAfter = cmp.Or(o.ReconcileAfter, 10*time.Second)
	o.ReconcileMax = cmp.Or(o.ReconcileMax, 30*time.Minute)
	o.RetryAfter = cmp.Or(o.RetryAfter, 5*time.Second)
	o.RetryMax = cmp.Or(o.RetryMax, 5*time.Minute)
	o.FirstPoll = cmp.Or(o.FirstPoll, 30*time.Minute)
	o.CaseWithin = cmp.Or(o.CaseWithin, 4*time.Hour)
	o.WeightG = cmp.Or(o.WeightG, 50)
	o.Contents = cmp.Or(o.Contents, "证件")
	return o
}

// An Orderer turns approved deliveries into paid waybills, each exactly once (I-3, I-4). Its rounds may run beside
// each other and on any number of replicas.
type Orderer struct {
	db      *sqlx.DB
	vault   *vault.Vault
	carrier Carrier
	clock   Clock
	opts    OrderOptions
	log     *slog.Logger
	metrics *OrderMetrics

	slots   chan struct{} // calls in flight
	cursor  cursor        // of the order round
	numbers cursor        // of the pool
	// away is set while EMS cannot be reached: rounds then try one delivery, so that an outage does not move thousands
	// to and fro.
	away atomic.Bool
}

// NewOrderer returns an Orderer; it starts nothing.
func NewOrderer(db *sqlx.DB, v *vault.Vault, c Carrier, clock Clock, opts OrderOptions, log *slog.Logger, m *OrderMetrics) *Orderer {
	opts = opts.withDefaults()
	return &Orderer{db: db, vault: v, carrier: c, clock: clock, opts: opts, log: log, metrics: m,
		slots: make(chan struct{}, opts.Concurrency)}
}

// errAway ends a round early: nothing that was tried left this machine.
var errAway = errors.New("EMS cannot be reached")

// OrderRound orders what is approved and due until nothing is left. Lanes overlap so that calls go on while another
// chunk commits. When ctx ends, calls in flight are finished and recorded, and what was claimed beyond them is handed back.
func (o *Orderer) OrderRound(ctx context.Context) error {
	lanes := o.opts.Lanes
	if o.away.Load() {
		lanes = 1
	}
	errs := make([]error, lanes)
	var wg sync.WaitGroup
	for i := range lanes {
		wg.Go(func() { errs[i] = o.orderLane(ctx) })
	}
	wg.Wait()
	err := joinDistinct(errs)
	if err == nil {
		o.metrics.succeeded("order", o.clock.Wall())
	}
	return err
}

func (o *Orderer) orderLane(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := o.orderChunk(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// orderChunk takes one chunk through: claim and intent, commit; calls; outcome, commit. It returns how many it took.
func (o *Orderer) orderChunk(ctx context.Context) (int, error) {
	limit := o.opts.Chunk
	if o.away.Load() {
		limit = 1
	}
	wall := o.clock.Wall()
	until := wall.Add(o.opts.Lease)
	jobs, short, err := o.claimOrders(ctx, limit, o.clock.Now(), wall, until)
	if err != nil {
		return 0, fmt.Errorf("claim orders: %w", err)
	}
	if short > 0 {
		if err := o.refill(ctx, true); err != nil && len(jobs) == 0 {
			return 0, err
		}
	}
	if len(jobs) == 0 {
		return short, nil
	}
	o.at(PointOrderIntentCommitted)
	settled := make([]settledOrder, len(jobs))
	o.each(len(jobs), func(i int) {
		r := o.create(ctx, jobs[i], until)
		settled[i] = settledOrder{job: jobs[i], reply: r, step: o.opts.afterOrder(jobs[i], r)}
	})
	if err := o.settle(ctx, settled, until); err != nil {
		return 0, fmt.Errorf("record the outcome of %d orders: %w", len(jobs), err)
	}
	o.at(PointOrderOutcomeWritten)
	o.note("create", settled)
	return len(jobs), o.reachable(settled)
}

// each calls f for 0 to n-1, at most Concurrency at once over everything the Orderer does.
func (o *Orderer) each(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, o.opts.Concurrency) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				o.slots <- struct{}{}
				f(i)
				<-o.slots
			}
		})
	}
	wg.Wait()
}

// create sends one order, once.
func (o *Orderer) create(ctx context.Context, j orderJob, until time.Time) orderReply {
	order, err := o.compose(j)
	if err != nil {
		o.log.Error("a recipient cannot be unsealed", "delivery", j.ID, "err", err)
		return orderReply{outcome: outcomeUnsent, unreadable: true, detail: "收件人资料无法解密"}
	}
	ctx, cancel, ok := o.within(ctx, until)
	if !ok {
		return orderReply{outcome: outcomeUnsent, handedBack: true, detail: "尚未发送：本轮时间已尽"}
	}
	defer cancel()
	c, err := o.carrier.CreateWaybill(ctx, order)
	o.at(PointOrderCalled)
	return judgeOrder(order, c, err)
}

// within bounds a call by the lease of its claim, not by ctx: a call that has begun is finished. It refuses to begin
// one when ctx has ended or too little of the lease is left.
func (o *Orderer) within(ctx context.Context, until time.Time) (context.Context, context.CancelFunc, bool) {
	left := until.Sub(o.clock.Wall())
	if ctx.Err() != nil || left < o.opts.Lease/4 {
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	return ctx, cancel, true
}

// compose unseals what EMS must know.
func (o *Orderer) compose(j orderJob) (Order, error) {
	to, err := o.recipient(j)
	if err != nil {
		return Order{}, err
	}
	mode := 1
	if j.PaymentMethod == Collect {
		mode = 2
	}
	order := Order{
		OrderNo: j.OrderNo, WaybillNo: j.WaybillNo, CreatedAt: o.clock.Now(), PaymentMode: mode,
		WeightG: o.opts.WeightG, Contents: o.opts.Contents, Remarks: o.opts.Remarks,
		Sender: j.Sender, Recipient: to,
	}
	// As the first order said, whatever is configured now: a repeated order must be the same order.
	if j.IDChecked {
		if order.RecipientID, err = o.vault.Unseal(vault.ColumnIDNo, j.ID, j.IDNo); err != nil {
			return Order{}, err
		}
	}
	if len(j.Password) > 0 {
		order.Password, err = o.vault.Unseal(vault.ColumnPassword, j.ID, j.Password)
	}
	return order, err
}

// newPassword draws six digits.
func newPassword() (vault.Secret, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return vault.Secret{}, fmt.Errorf("draw a delivery password: %w", err)
	}
	return vault.Conceal(fmt.Sprintf("%06d", n)), nil
}

func (o *Orderer) recipient(j orderJob) (Party, error) {
	p := Party{Province: j.Province, City: j.City, County: j.County}
	var err error
	if p.Name, err = o.vault.Unseal("deliveries.name", j.ID, j.Name); err != nil {
		return Party{}, err
	}
	if p.Phone, err = o.vault.Unseal("deliveries.phone", j.ID, j.Phone); err != nil {
		return Party{}, err
	}
	p.Address, err = o.vault.Unseal("deliveries.address", j.ID, j.Address)
	return p, err
}

// settle writes the outcomes of orders.
func (o *Orderer) settle(ctx context.Context, settled []settledOrder, until time.Time) error {
	if len(settled) == 0 {
		return nil
	}
	return o.persist(ctx, until, func(ctx context.Context) error {
		return o.writeOutcomes(ctx, settled, o.clock.Now(), o.clock.Wall())
	})
}

// persist writes what EMS answered, trying again until the lease ends, also after ctx: an answer that gets lost here costs
// a question later, or, when it names an unwanted waybill, money. What it calls may be done twice without harm.
func (o *Orderer) persist(ctx context.Context, until time.Time, write func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := write(ctx)
		if err == nil {
			return nil
		}
		if o.clock.Wall().Add(wait).After(until) {
			return err
		}
		o.log.Warn("answers of EMS are written again", "err", err)
		<-time.After(wait)
	}
}

// reachable notices that EMS is out of reach: a whole chunk of which nothing left this machine.
func (o *Orderer) reachable(settled []settledOrder) error {
	tried := 0
	for _, s := range settled {
		if s.reply.outcome != outcomeUnsent {
			o.away.Store(false)
			return nil
		}
		if !s.reply.handedBack && !s.reply.unreadable {
			tried++
		}
	}
	if tried == 0 {
		return nil
	}
	o.away.Store(true)
	return fmt.Errorf("%w: %d orders are put off", errAway, tried)
}

// note counts outcomes and logs those that an operator acts on.
func (o *Orderer) note(call string, settled []settledOrder) {
	counts := map[string]int{}
	for _, s := range settled {
		counts[s.reply.outcome]++
		if s.reply.outcome == outcomeAnomaly {
			o.log.Error("EMS named another waybill; it will be cancelled", "delivery", s.job.ID, "waybill", s.job.WaybillNo, "unwanted", s.reply.waybillNo)
		}
	}
	for outcome, n := range counts {
		o.metrics.count(call, outcome, n)
	}
	if odd := len(settled) - counts[outcomeConfirmed]; odd > 0 {
		o.log.Warn("not all orders were confirmed", "call", call, "orders", len(settled), "confirmed", counts[outcomeConfirmed],
			"refused", counts[outcomeRefused], "unsent", counts[outcomeUnsent], "unknown", counts[outcomeUnknown], "anomalies", counts[outcomeAnomaly])
	}
}

// A cursor is where a claim goes on: rows before it were claimed already, and walking over their dead versions is what
// makes a queue slow while an old snapshot is open.
type cursor struct {
	mu sync.Mutex
	at time.Time
	id uuid.UUID
	no string
}

func (c *cursor) load() (time.Time, uuid.UUID, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at, c.id, c.no
}

func (c *cursor) store(at time.Time, id uuid.UUID, no string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.id, c.no = at, id, no
}

// advance moves c forward to what was claimed furthest; it is not for a cursor that is shared.
func (c *cursor) advance(at time.Time, id uuid.UUID, no string) {
	c.no = max(c.no, no)
	if at.After(c.at) || at.Equal(c.at) && bytes.Compare(id[:], c.id[:]) > 0 {
		c.at, c.id = at, id
	}
}

// joinDistinct joins errors but says each text once: lanes tend to fail together.
func joinDistinct(errs []error) error {
	seen := map[string]bool{}
	var kept []error
	for _, err := range errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			kept = append(kept, err)
		}
	}
	return errors.Join(kept...)
}
