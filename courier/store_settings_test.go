package courier

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

func TestATokenWorksUntilItEnds(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	secret, tok, err := s.svc.CreateToken(t.Context(), "permit system", []string{"permits", "read"}, time.Hour, "zhao")
	if err != nil || !strings.HasPrefix(secret, tokenPrefix) || len(secret) < len(tokenPrefix)+43 {
		t.Fatalf("CreateToken = %d characters, %v", len(secret), err)
	}
	if strings.Contains(s.dump(), secret) || strings.Contains(s.dump(), secret[len(tokenPrefix):]) {
		t.Error("the secret is stored")
	}
	got, err := s.svc.Authenticate(t.Context(), secret)
	if err != nil || got.ID != tok.ID || !slices.Equal(got.Scopes, []string{"permits", "read"}) {
		t.Errorf("Authenticate = %+v, %v", got, err)
	}
	for name, wrong := range map[string]string{"empty": "", "without prefix": secret[5:], "one character off": secret[:len(secret)-1] + "~",
		"another": newTokenSecret(), "huge": tokenPrefix + strings.Repeat("x", 1000), "NUL": tokenPrefix + "\x00"} {
		if _, err := s.svc.Authenticate(t.Context(), wrong); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	lastUsed := func() time.Time { return value[time.Time](s, `SELECT last_used_at FROM tokens WHERE id = $1`, tok.ID) }
	used := lastUsed()
	s.pass(59 * time.Second)
	if s.svc.Authenticate(t.Context(), secret); !lastUsed().Equal(used) {
		t.Error("a use within a minute is written again")
	}
	s.pass(time.Second)
	if s.svc.Authenticate(t.Context(), secret); !lastUsed().Equal(used.Add(time.Minute)) {
		t.Error("a use after a minute is not written")
	}
	s.pass(time.Hour)
	if _, err := s.svc.Authenticate(t.Context(), secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("after its hour: %v, want ErrNotFound", err)
	}
}

func TestARevokedTokenIsUselessAtOnce(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	secret, tok, err := s.svc.CreateToken(t.Context(), "clerk", []string{"clerk"}, 0, "zhao")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.svc.RevokeToken(t.Context(), tok.ID, "zhao"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.svc.Authenticate(t.Context(), secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("Authenticate: %v, want ErrNotFound", err)
	}
	if err := s.svc.RevokeToken(t.Context(), tok.ID, "zhao"); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	tokens, err := s.svc.Tokens(t.Context())
	if err != nil || len(tokens) != 1 || tokens[0].RevokedAt.IsZero() {
		t.Errorf("Tokens = %+v, %v", tokens, err)
	}
	if n := value[int](s, `SELECT count(*) FROM audit WHERE action IN ('token.create', 'token.revoke')`); n != 2 {
		t.Errorf("%d audit entries, want 2", n)
	}
	_, _, err = s.svc.CreateToken(t.Context(), " ", []string{"root"}, -1, "zhao")
	if got := fieldsAndCodes(errAs[Faults](err)); got != "name required, scopes unknown, ttl range" {
		t.Errorf("faults %q", got)
	}
}

func TestARequestIsAnsweredOnceUnderItsKey(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	_, tok, err := s.svc.CreateToken(t.Context(), "x", []string{"permits"}, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	open := func(svc *Service, hash string) (*StoredAnswer, error) {
		return svc.OpenIdempotent(ctx, tok.ID, "k", []byte(hash))
	}
	// opened is a request of its own, which does nothing.
	opened := func(hash string) (a *StoredAnswer, err error) {
		if together := s.svc.Together(ctx, func(svc *Service) error { a, err = open(svc, hash); return nil }); together != nil {
			t.Fatal(together)
		}
		return a, err
	}
	want, dies := StoredAnswer{201, "application/json", "/v1/deliveries/1", []byte(`{"id":1}`)}, errors.New("dies")
	work := func(after error) error {
		return s.svc.Together(ctx, func(svc *Service) error {
			if a, err := open(svc, "hash"); a != nil || err != nil {
				t.Fatalf("to be carried out: %v, %v", a, err)
			}
			if _, err := opened("hash"); conflictOf(err) != "in_progress" {
				t.Errorf("while in progress: %v", err)
			}
			if err := svc.StoreIdempotent(ctx, tok.ID, "k", []byte("hash"), want); err != nil {
				return err
			}
			return after
		})
	}
	// A process that dies before its commit: the key is free at once.
	if err := work(dies); err != dies {
		t.Fatal(err)
	}
	if err := work(nil); err != nil {
		t.Fatal(err)
	}
	s.pass(24 * time.Hour)
	a, err := opened("hash")
	if err != nil || a == nil {
		t.Fatalf("repeated: %v, %v", a, err)
	}
	if diff := cmp.Diff(want, *a); diff != "" {
		t.Errorf("stored (-), repeated (+)\n%s", diff)
	}
	if _, err := opened("other"); fieldsAndCodes(errAs[Faults](err)) != "Idempotency-Key reused" {
		t.Errorf("with another body: %v", err)
	}
	if err := s.svc.PurgeIdempotency(ctx, s.clock()); err != nil {
		t.Fatal(err)
	}
	if a, err := opened("another body"); a != nil || err != nil {
		t.Errorf("after the purge: %v, %v", a, err)
	}
}

func TestOneOfManyRequestsUnderAKeyGoesThrough(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	_, tok, err := s.svc.CreateToken(t.Context(), "x", []string{"permits"}, 0, "test")
	if err != nil {
		t.Fatal(err)
	}
	const requests = 20
	var through, told atomic.Int32
	answered := make(chan struct{})
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			err := s.svc.Together(t.Context(), func(svc *Service) error {
				if a, err := svc.OpenIdempotent(t.Context(), tok.ID, "k", []byte("h")); a != nil || err != nil {
					return err
				}
				through.Add(1)
				<-answered // all of them come meanwhile
				return svc.StoreIdempotent(t.Context(), tok.ID, "k", []byte("h"), StoredAnswer{Status: 200})
			})
			if err != nil && conflictOf(err) != "in_progress" {
				t.Error(err)
			}
			if err != nil && told.Add(1) == requests-1 {
				close(answered)
			}
		})
	}
	wg.Wait()
	if through.Load() != 1 || told.Load() != requests-1 {
		t.Errorf("%d requests went through and %d were told to wait, want 1 and %d", through.Load(), told.Load(), requests-1)
	}
}

func TestStationsAndTariffsAreCheckedAndReplaced(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	rows := []map[string]string{
		{"code": "1", "name": "甲", "kind": KindPoliceStation},
		{"code": "京1", "name": "", "kind": "kiosk"},
		{"code": "2", "name": "乙", "kind": KindPoliceStation, "operated_by": ClassPoliceStation},
		{"code": "3", "name": "丙", "kind": KindBookedWindow, "operated_by": "somebody"},
		{"code": "4", "name": "丁", "kind": KindPoliceStation, "phone": "01080000000"},
		{"code": "1", "name": "甲二", "kind": KindPoliceStation},
		{"code": "5", "name": "戊", "kind": KindPoliceStation, "hours": "08:30-12:00,13:00-24:00"},
		{"code": "6", "name": "己", "kind": KindPoliceStation, "hours": "9-5"},
		{"code": "7", "name": "庚", "kind": KindPoliceStation, "hours": "13:00-17:00,09:00-12:00"},
		{"code": "8", "name": "辛", "kind": KindPoliceStation, "hours": "17:00-09:00"},
	}
	for _, dryRun := range []bool{true, false, false} {
		faults, err := s.svc.SaveStations(t.Context(), rows, dryRun)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"", "code format, name required, kind unknown_value", "operated_by unexpected", "operated_by unknown_value", "sender_name incomplete", "",
			"", "hours format", "hours format", "hours format"}
		for i, w := range want {
			if got := fieldsAndCodes(faults[i]); got != w {
				t.Errorf("station %d: faults %q, want %q", i+1, got, w)
			}
		}
		if n := value[int](s, `SELECT count(*) FROM stations WHERE code = '1' AND name = '甲二'`); n != map[bool]int{false: 1}[dryRun] {
			t.Errorf("dry run %v stored %d", dryRun, n)
		}
	}
	if got := value[string](s, `SELECT string_agg(hours, ' ' ORDER BY code) FROM stations WHERE code IN ('1', '5')`); got != "09:00-17:00 08:30-12:00,13:00-24:00" {
		t.Errorf("hours %q are stored", got)
	}
	tariff := func(changes ...string) map[string]string {
		r := map[string]string{"zone": "z", "provinces": "北京市 河北省", "valid_from": "2026-01-01", "valid_to": "", "first_weight_g": "500",
			"first_fen": "100", "step_weight_g": "500", "step_fen": "1"}
		for i := 0; i < len(changes); i += 2 {
			r[changes[i]] = changes[i+1]
		}
		return r
	}
	faults, err := s.svc.SaveTariffs(t.Context(), []map[string]string{tariff(), tariff("provinces", "北京"), tariff("valid_to", "2025-01-01"),
		tariff("first_fen", "1.5", "step_weight_g", "0"), tariff("zone", "", "valid_from", "soon", "provinces", ""), tariff("first_fen", "200")}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []string{"", "provinces unknown", "valid_to range", "step_weight_g format, first_fen format", "zone required, provinces required, valid_from format", ""} {
		if got := fieldsAndCodes(faults[i]); got != w {
			t.Errorf("tariff %d: faults %q, want %q", i+1, got, w)
		}
	}
	if fen := value[int64](s, `SELECT first_fen FROM tariffs WHERE zone = 'z'`); fen != 200 {
		t.Errorf("the later row did not replace the earlier: %d fen", fen)
	}
	if begins := value[time.Time](s, `SELECT valid_from FROM tariffs WHERE zone = 'z'`); !begins.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, beijing)) {
		t.Errorf("the tariff begins at %v, want midnight in Beijing", begins)
	}
	if _, err := s.svc.Authenticate(t.Context(), uuid.NewString()); !errors.Is(err, ErrNotFound) {
		t.Error("a uuid passes for a token")
	}
}
