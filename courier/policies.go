package courier

import (
	"context"
	"fmt"
	"slices"
	"time"

	"emsd/courier/audit"

	"github.com/jmoiron/sqlx"
)

// A PolicySubject is something that policies decide about, with the values that the schema knows. What a second line or
// a constraint forbids for good is not among them.
type PolicySubject struct {
	Rule    string
	Subject string
	Title   string   // for clerks
	Values  []string // that a policy may allow
}

// PolicySubjects lists what can be decided, in the order in which Judge asks.
var PolicySubjects = []PolicySubject{
	{RuleBusiness, "business", "可寄递的业务", []string{Exchange}},
	{RuleStation, "station", "可寄递的受理点", []string{ClassPoliceStation}},
	{RuleRoute, "route", "可寄递的受理渠道", []string{RoutePoliceStation, RouteOnline}},
	{RuleConsent, "consent_source", "申请人选择寄递的地方", []string{"platform", "counter"}},
	{RuleOnline, "online_ground", "网上办理的申领条件", []string{"residence", "employment", "study"}},
	{RuleOnline, "online_change", "网上办理时身份与住址", []string{"unchanged", "changed"}},
	{RulePayer, "payer", "付费人", []string{"applicant"}},
	{RuleCarrier, "carrier", "承运单位", []string{CarrierEMS}},
}

// A StoredPolicy is a policy as the table holds it.
type StoredPolicy struct {
	ID int64
	Policy
}

// A PolicyChange opens something from a moment on, or ends what is open. Nothing is changed for the past.
type PolicyChange struct {
	ID      int64 // of the policy that ends At; 0: a new one that begins At
	Rule    string
	Subject string
	Value   string
	At      time.Time
	Until   time.Time // of a new one; zero: open
	Note    string    // why; for people who read the table
}

// previewDays is over how many days of applications a change is tried.
const previewDays = 30

// previewLimit bounds how many applications it is tried on, the newest first.
const previewLimit = 20_000

// A PolicyPreview says which of the applications of the last 30 days would have been judged otherwise.
type PolicyPreview struct {
	Judged  int // applications that were looked at
	Refused int // allowed now, refused then
	Allowed int // refused now, allowed then
	ByRule  map[string]int
}

// AllPolicies lists every policy, past, present and to come, by rule, subject and beginning.
func (s *Service) AllPolicies(ctx context.Context) ([]StoredPolicy, error) {
	return allPolicies(ctx, s.db)
}

// PreviewPolicy tries a change on the applications of the last 30 days, judged as if it were in force already.
func (s *Service) PreviewPolicy(ctx context.Context, c PolicyChange) (PolicyPreview, error) {
	stored, err := allPolicies(ctx, s.db)
	if err != nil {
		return PolicyPreview{}, err
	}
	now := s.clock.Now()
	if err := c.check(stored, now); err != nil {
		return PolicyPreview{}, err
	}
	past, err := recentApplications(ctx, s.db, now.AddDate(0, 0, -previewDays), previewLimit)
	if err != nil {
		return PolicyPreview{}, err
	}
	return compare(past, c, stored, now), nil
}

// compare judges applications before and after a change. Each is judged as of the change's moment, so that what else
// begins or ends until then counts on both sides.
func compare(past []pastApplication, c PolicyChange, stored []StoredPolicy, now time.Time) PolicyPreview {
	before := make([]Policy, len(stored))
	for i, p := range stored {
		before[i] = p.Policy
	}
	after := slices.Clone(before)
	if i := slices.IndexFunc(stored, func(p StoredPolicy) bool { return c.ID != 0 && p.ID == c.ID }); i >= 0 {
		after[i].ValidTo = c.At
	} else {
		after = append(after, Policy{c.Rule, c.Subject, c.Value, c.At, c.Until, c.Note})
	}
	preview := PolicyPreview{Judged: len(past), ByRule: map[string]int{}}
	for _, p := range past {
		was, is := p.judge(before, c.At), p.judge(after, c.At)
		switch {
		case was.Allowed && !is.Allowed:
			preview.Refused++
			preview.ByRule[is.Rule]++
		case !was.Allowed && is.Allowed:
			preview.Allowed++
			preview.ByRule[was.Rule]++
		}
	}
	return preview
}

// A pastApplication is what an application was judged by.
type pastApplication struct {
	Application
	Class string
}

func (p pastApplication) judge(policies []Policy, at time.Time) Judgement {
	st := Station{Kind: KindBookedWindow, OperatedBy: p.Class} // Class gives back what it was then
	j := Judge(p.Application, st, policies, at)
	if j.Allowed {
		j = secondLine(p.Application, st)
	}
	return j
}

// ChangePolicy carries out a change; by and its note go into the audit chain.
func (s *Service) ChangePolicy(ctx context.Context, c PolicyChange, by string) error {
	now := s.clock.Now()
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		stored, err := allPolicies(ctx, tx)
		if err != nil {
			return err
		}
		if err := c.check(stored, now); err != nil {
			return err
		}
		action := "policy.open"
		if c.ID != 0 {
			action, err = "policy.end", endPolicy(ctx, tx, c.ID, c.At)
		} else {
			err = insertPolicy(ctx, tx, c)
		}
		if err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: now, Actor: by, Action: action, Object: fmt.Sprintf("%s/%s/%s", c.Rule, c.Subject, c.Value),
			Detail: map[string]string{"at": c.At.Format(time.RFC3339), "why": c.Note}})
	})
}

// check tells every fault of a change.
func (c *PolicyChange) check(stored []StoredPolicy, now time.Time) error {
	var k checker
	if c.Note == "" {
		k.add("note", "required", "请填写变更依据，例如文件名称和文号")
	}
	if !c.At.After(now) {
		k.add("at", "range", "生效时间须晚于现在：已经办理的业务不追溯变更")
	}
	if c.ID != 0 {
		c.checkEnd(&k, stored)
	} else {
		c.checkNew(&k, stored)
	}
	if len(k.faults) > 0 {
		return k.faults
	}
	return nil
}

func (c *PolicyChange) checkEnd(k *checker, stored []StoredPolicy) {
	i := slices.IndexFunc(stored, func(p StoredPolicy) bool { return p.ID == c.ID })
	if i < 0 {
		k.add("id", "unknown", "没有这条规定")
		return
	}
	p := stored[i]
	c.Rule, c.Subject, c.Value = p.Rule, p.Subject, p.Value
	if !c.At.After(p.ValidFrom) {
		k.add("at", "range", "截止时间须晚于该规定的起始时间")
	}
	if !p.ValidTo.IsZero() && !c.At.Before(p.ValidTo) {
		k.add("at", "range", "该规定在此之前已经截止")
	}
}

func (c *PolicyChange) checkNew(k *checker, stored []StoredPolicy) {
	known := slices.ContainsFunc(PolicySubjects, func(s PolicySubject) bool {
		return s.Rule == c.Rule && s.Subject == c.Subject && slices.Contains(s.Values, c.Value)
	})
	if !known {
		k.add("value", "unknown", "不能开放该事项：流管站等尚未开通的情形须先升级系统")
	}
	if !c.Until.IsZero() && !c.Until.After(c.At) {
		k.add("until", "range", "截止时间须晚于生效时间")
	}
	if slices.ContainsFunc(stored, func(p StoredPolicy) bool {
		return p.Rule == c.Rule && p.Subject == c.Subject && p.Value == c.Value && inForce(p.ValidFrom, p.ValidTo, c.At)
	}) {
		k.add("value", "exists", "届时已有同一事项的有效规定")
	}
}

// A TariffPreview says what a new tariff changes for one province, for the usual weight.
type TariffPreview struct {
	Province string
	BeforeFen,
	AfterFen int64
	Known bool // there is a tariff now
	Sent  int  // deliveries to it in the last 30 days
}

// AllTariffs lists every tariff by zone, the newest first.
func (s *Service) AllTariffs(ctx context.Context) ([]Tariff, error) { return allTariffs(ctx, s.db) }

// PreviewTariff says what a tariff would change. Only one that begins later than now is taken: quotes are not rewritten.
func (s *Service) PreviewTariff(ctx context.Context, row map[string]string) ([]TariffPreview, error) {
	t, err := s.newTariff(row)
	if err != nil {
		return nil, err
	}
	all, err := allTariffs(ctx, s.db)
	if err != nil {
		return nil, err
	}
	sent, err := sentByProvince(ctx, s.db, s.clock.Now().AddDate(0, 0, -previewDays))
	if err != nil {
		return nil, err
	}
	previews := make([]TariffPreview, len(t.Provinces))
	for i, p := range t.Provinces {
		was, known := Quote(all, p, s.opts.WeightG, t.ValidFrom)
		previews[i] = TariffPreview{Province: p, BeforeFen: was.Fen, AfterFen: t.price(s.opts.WeightG), Known: known, Sent: sent[p]}
	}
	return previews, nil
}

// AddTariff stores a tariff that begins later than now.
func (s *Service) AddTariff(ctx context.Context, row map[string]string, by, why string) error {
	t, err := s.newTariff(row)
	if why == "" {
		faults, _ := err.(Faults)
		err = append(faults, Fault{"why", "required", "请填写变更依据，例如文件名称和文号"})
	}
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := saveTariffs(ctx, tx, []Tariff{t}); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: by, Action: "tariff.add", Object: t.Zone,
			Detail: map[string]string{"from": t.ValidFrom.Format(time.DateOnly), "first_fen": fmt.Sprint(t.FirstFen), "why": why}})
	})
}

func (s *Service) newTariff(row map[string]string) (Tariff, error) {
	t, faults := tariffFrom(row)
	if t.ValidFrom.IsZero() || t.ValidFrom.After(s.clock.Now()) {
		if len(faults) == 0 {
			return t, nil
		}
		return t, faults
	}
	return t, append(faults, Fault{"valid_from", "range", "起始日期须晚于今天：已报出的邮费不改变"})
}

// SaveStation stores one station that a person has entered.
func (s *Service) SaveStation(ctx context.Context, row map[string]string, by, why string) error {
	st := stationFrom(row)
	faults := st.check()
	if why == "" {
		faults = append(faults, Fault{"why", "required", "请填写变更依据"})
	}
	if len(faults) > 0 {
		return faults
	}
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := saveStations(ctx, tx, []Station{st}, s.clock.Now()); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Entry{At: s.clock.Now(), Actor: by, Action: "station.save", Object: st.Code,
			Detail: map[string]string{"kind": st.Kind, "operated_by": st.OperatedBy, "why": why}})
	})
}

// StationByCode reads one station.
func (s *Service) StationByCode(ctx context.Context, code string) (Station, error) {
	return stationByCode(ctx, s.db, code)
}

// Stations lists every station by code.
func (s *Service) Stations(ctx context.Context) ([]Station, error) { return allStations(ctx, s.db) }
