package courier

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"emsd/courier/vault"
	"emsd/migrations/dbtest"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// An intakeScene is a service on a database of its own, with stations and tariffs and a clock that a test moves.
type intakeScene struct {
	t   testing.TB
	db  *sqlx.DB
	v   *vault.Vault
	svc *Service

	mu  sync.Mutex
	now time.Time
}

func newIntake(t testing.TB, opts Options) *intakeScene {
	t.Helper()
	s := &intakeScene{t: t, db: dbtest.Open(t), v: vault.Fixed([]byte(t.Name())), now: testNow.UTC()}
	s.svc = New(s.db, s.v, Clock{Now: s.clock, Wall: s.clock}, opts)
	stations := []map[string]string{
		{"code": "110105001", "name": "示例派出所", "kind": KindPoliceStation},
		{"code": "110105901", "name": "示例流管站", "kind": KindRegistrationStation},
		{"code": "110105801", "name": "窗口一", "kind": KindBookedWindow, "operated_by": ClassPoliceStation},
		{"code": "110105802", "name": "窗口二", "kind": KindBookedWindow},
	}
	tariffs := []map[string]string{
		{"zone": "同城", "provinces": "北京市", "valid_from": "2026-01-01", "first_weight_g": "500", "first_fen": "1200", "step_weight_g": "500", "step_fen": "200"},
		{"zone": "远", "provinces": "广东省 河北省", "valid_from": "2026-01-01", "first_weight_g": "500", "first_fen": "2200", "step_weight_g": "500", "step_fen": "600"},
		{"zone": "免", "provinces": "天津市", "valid_from": "2026-01-01", "first_weight_g": "500", "first_fen": "0", "step_weight_g": "500", "step_fen": "0"},
	}
	for _, save := range []func() ([]Faults, error){
		func() ([]Faults, error) { return s.svc.SaveStations(t.Context(), stations, false) },
		func() ([]Faults, error) { return s.svc.SaveTariffs(t.Context(), tariffs, false) },
	} {
		faults, err := save()
		for _, f := range faults {
			if err == nil && f != nil {
				err = f
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *intakeScene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *intakeScene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// permit is a good application with numbers of its own.
func permit(n int) Application {
	a := goodApplication()
	a.PermitNo, a.ApplicationNo = fmt.Sprintf("A1100002026%05d", n), fmt.Sprintf("SQ2026-%06d", n)
	return a
}

func with(a Application, change func(*Application)) Application {
	change(&a)
	return a
}

func (s *intakeScene) accept(apps ...Application) []Result {
	s.t.Helper()
	results, err := s.svc.Accept(s.t.Context(), apps)
	if err != nil {
		s.t.Fatal(err)
	}
	return results
}

// created accepts one application that must become a delivery.
func (s *intakeScene) created(a Application) Delivery {
	s.t.Helper()
	r := s.accept(a)[0]
	if r.Outcome != Created {
		s.t.Fatalf("outcome %s, faults %v, rule %s, want created", r.Outcome, r.Faults, r.Delivery.Rule)
	}
	return r.Delivery
}

func (s *intakeScene) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatal(err)
	}
}

func value[T any](s *intakeScene, query string, args ...any) T {
	s.t.Helper()
	var v T
	if err := s.db.Get(&v, query, args...); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *intakeScene) get(id uuid.UUID) View {
	s.t.Helper()
	v, err := s.svc.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// events lists the types of a delivery's events in order.
func (s *intakeScene) events(id uuid.UUID) string {
	s.t.Helper()
	var types []string
	if err := s.db.Select(&types, `SELECT type FROM events WHERE delivery_id = $1 ORDER BY seq`, id); err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(types, " ")
}

// checkLog holds after anything: every delivery's events count up to its seq, and the last move among them is its status (I-8).
func (s *intakeScene) checkLog() {
	s.t.Helper()
	var wrong []string
	err := s.db.Select(&wrong, `
		SELECT d.id::text || ' ' || d.status || ' seq ' || d.seq
		FROM deliveries d
		WHERE d.seq <> (SELECT count(*) FROM events e WHERE e.delivery_id = d.id)
			OR d.seq <> (SELECT max(seq) FROM events e WHERE e.delivery_id = d.id)
			OR 'delivery.' || d.status <> (SELECT type FROM events e WHERE e.delivery_id = d.id AND type LIKE 'delivery.%' ORDER BY seq DESC LIMIT 1)`)
	if err != nil || len(wrong) > 0 {
		s.t.Errorf("the log does not tell what happened to %v (%v)", wrong, err)
	}
}

// toOrdered takes a delivery as far as EMS, as the ordering half does it.
func (s *intakeScene) toStatus(id uuid.UUID, status Status) {
	s.t.Helper()
	s.exec(`UPDATE deliveries SET status = $2, status_since = $3, order_no = 'RP' || id, waybill_no = 'W' || left(id::text, 18), number_mode = 'reserved',
		reconcile_at = NULL WHERE id = $1`, id, string(status), s.clock())
}
