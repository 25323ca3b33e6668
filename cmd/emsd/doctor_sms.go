package main

import (
	"context"
	"errors"
	"time"

	"emsd/courier/vault"
	"emsd/migrations"
	"emsd/notify"

	"github.com/jmoiron/sqlx"
)

// askTimeout bounds one visit to a gateway: a dozen questions.
const askTimeout = 30 * time.Second

// checkSMS tells of every gateway whether it answers, what it has no template for, and what its vendor and the carriers have
// made of signature and templates; then how this month's self-tests stand. It returns how many parts need care.
func checkSMS(e *world, cfg Config, db *sqlx.DB) (failed int) {
	check := func(part, fine string, err error) {
		if tell(e, part, fine, err); err != nil {
			failed++
		}
	}
	a := &app{cfg: cfg, clock: newClock(1, time.Now()), log: newLog(e.err, "error"), db: db}
	for _, name := range cfg.SMS {
		part := "sms " + name
		if name == "log" {
			tell(e, part, "sends nothing: messages go to the log only", nil)
			continue
		}
		g, err := a.makeGateway(name)
		if err != nil {
			check(part, "", err)
			continue
		}
		a.gateways = append(a.gateways, g)
		ctx, cancel := context.WithTimeout(e.ctx, askTimeout)
		checkGatewayAnswers(ctx, g, part, check)
		for _, u := range notify.Unsendables(g, cfg.signatures()[name], cfg.EMS.DeliveryPassword) {
			check(part+" "+string(u.Text), "", errors.New(u.Why))
		}
		if _, ok := g.(notify.Registrar); !ok {
			tell(e, part+" registration", "cannot be asked: look up signature and templates in the vendor's portal", nil)
		}
		for _, f := range notify.Inspect(ctx, g, cfg.EMS.DeliveryPassword) {
			var err error
			if !f.Fine {
				err = errors.New(f.Says)
			}
			check(part+" "+f.Subject, f.Says, err)
		}
		cancel()
	}
	a.checkSelfTests(e, check)
	return failed
}

// A checker is a gateway that can be asked whether it takes our credentials.
type checker interface {
	Check(ctx context.Context) error
}

func checkGatewayAnswers(ctx context.Context, g vendor, part string, check func(part, fine string, err error)) {
	c, ok := g.(checker)
	if !ok {
		check(part, "account configured; whether it answers shows with the first message", nil)
		return
	}
	err := c.Check(ctx)
	if err != nil {
		err = errors.New(notify.Explain(err))
	}
	check(part, "reachable, credentials accepted", err)
}

// checkSelfTests tells how the self-tests of this month stand.
func (a *app) checkSelfTests(e *world, check func(part, fine string, err error)) {
	phones, err := a.cfg.selfTestPhones()
	switch {
	case err != nil || len(a.gateways) == 0:
		return // told with the configuration, or nothing to keep alive
	case len(phones) == 0:
		tell(e, "sms self-test", "no EMSD_SMS_SELFTEST_PHONES: a signature without sends for six months loses its registration", nil)
		return
	case a.db == nil || migrations.Check(e.ctx, a.db.DB) != nil:
		return // told with the database
	}
	tests, err := a.selfTests(e.ctx, phones)
	if err != nil {
		check("sms self-test", "", err)
		return
	}
	for _, t := range tests {
		var err error
		if len(t.Failed) > 0 {
			err = errors.New(t.String())
		}
		check("sms self-test "+t.Gateway, t.String(), err)
	}
}

func (a *app) selfTests(ctx context.Context, phones []vault.Secret) ([]notify.SelfTest, error) {
	master, err := vault.ReadMasterKey(a.cfg.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(ctx, a.db, master, a.clock.Now())
	if err != nil {
		return nil, err
	}
	gateways, err := notify.NewGateways(a.gateways...)
	if err != nil {
		return nil, err
	}
	return notify.NewTrials(a.db, v, gateways, a.clock, notify.Options{}, phones, a.log).SelfTests(ctx)
}
