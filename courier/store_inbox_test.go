package courier

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// post puts rows into the exchange table as the exchange role does.
func (s *intakeScene) post(rows ...map[string]string) {
	s.t.Helper()
	s.asExchange("emsd_exchange", func(tx *sqlx.Tx) {
		for _, r := range rows {
			if err := postRow(tx, r); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

func postRow(tx *sqlx.Tx, row map[string]string) error {
	var names, marks []string
	var args []any
	for name, v := range row {
		args = append(args, v)
		names, marks = append(names, name), append(marks, fmt.Sprintf("$%d", len(args)))
	}
	_, err := tx.Exec(`INSERT INTO inbox.approved_permits (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, args...)
	return err
}

func (s *intakeScene) asExchange(role string, f func(tx *sqlx.Tx)) {
	s.t.Helper()
	tx, err := s.db.Beginx()
	if err != nil {
		s.t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(`SET LOCAL ROLE ` + pq.QuoteIdentifier(role)); err != nil {
		s.t.Fatal(err)
	}
	f(tx)
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
}

// exchangeRow is a good row for a permit; changes come in pairs of column and value.
func exchangeRow(n int, changes ...string) map[string]string {
	r := goodRow()
	r["permit_no"], r["application_no"], r["transaction_no"], r["paid_fen"] = permit(n).PermitNo, permit(n).ApplicationNo, fmt.Sprint("IX", n), "1200"
	for i := 0; i < len(changes); i += 2 {
		r[changes[i]] = changes[i+1]
	}
	return r
}

func (s *intakeScene) round() {
	s.t.Helper()
	if err := NewInbox(s.svc, slog.New(slog.DiscardHandler)).Round(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *intakeScene) answers() []string {
	s.t.Helper()
	var answers []string
	if err := s.db.Select(&answers, `SELECT coalesce(result, '-') FROM inbox.approved_permits ORDER BY id`); err != nil {
		s.t.Fatal(err)
	}
	return answers
}

func TestExchangeRowsAreTakenInAnsweredAndWiped(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.post(
		exchangeRow(1),
		exchangeRow(2, "route", "registration_station"),
		exchangeRow(3, "phone", "12345", "id_no", "1.1E+17"),
		exchangeRow(1, "address", "另一条路2号楼"),
		exchangeRow(4, "transaction_no", "IX1"),
		exchangeRow(1),
		map[string]string{"permit_no": "A1"},
		exchangeRow(5, "consent_source", "", "consent_at", ""))
	s.round()
	id := value[string](s, `SELECT id FROM deliveries WHERE permit_no = $1`, permit(1).PermitNo)
	want := []string{
		"accepted " + id,
		"refused R-09 流管站暂未开通寄递服务",
		"faulty: recipient.phone: 应为",
		"conflict " + id + ": 该居住证",
		"accepted ",
		"accepted " + id,
		"faulty: application_no: ",
		"refused R-13 ",
	}
	got := s.answers()
	for i, w := range want {
		if !strings.HasPrefix(got[i], w) {
			t.Errorf("row %d: %q, want %q…", i+1, got[i], w)
		}
	}
	if !strings.Contains(got[4], "; payment not recorded: 该交易号已用于另一笔款项") {
		t.Errorf("row 5: %q says nothing of its payment", got[4])
	}
	if n := value[int](s, `SELECT count(*) FROM inbox.approved_permits WHERE coalesce(name, phone, id_no, address) IS NOT NULL OR result_at IS NULL`); n != 0 {
		t.Errorf("%d rows are not answered and wiped", n)
	}
	if n := value[int](s, `SELECT count(*) FROM inbox.approved_permits WHERE delivery_id IS NOT NULL`); n != 6 {
		t.Errorf("%d rows name a delivery, want 6", n)
	}
	if v := value[string](s, `SELECT status FROM deliveries WHERE id = $1`, id); v != string(Approved) {
		t.Errorf("the paid permit is %s", v)
	}
	for _, clear := range []string{"张三丰", "13800000001", "11010519491231002X", "示例路1号院2号楼301"} {
		if strings.Contains(s.dump(), clear) {
			t.Errorf("%s is still there", clear)
		}
	}
	s.checkLog()
}

func TestOneRowThatCannotBeStoredStopsNoOther(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	// Something that no check foresees.
	s.exec(`ALTER TABLE deliveries ADD CONSTRAINT unforeseen CHECK (application_no <> $$SQ2026-000002$$)`)
	s.post(exchangeRow(1), exchangeRow(2), exchangeRow(3))
	s.round()
	got := s.answers()
	if !strings.HasPrefix(got[0], "accepted") || !strings.HasPrefix(got[1], "faulty: 该行无法保存") || !strings.HasPrefix(got[2], "accepted") {
		t.Errorf("answers %q", got)
	}
	s.checkLog()
}

func TestTwoReplicasShareTheExchangeTable(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	var rows []map[string]string
	for n := range 1200 {
		rows = append(rows, exchangeRow(n%1000))
	}
	s.post(rows...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(s.round)
	}
	wg.Wait()
	for i, a := range s.answers() {
		if !strings.HasPrefix(a, "accepted ") || strings.Contains(a, ";") {
			t.Fatalf("row %d: %q", i+1, a)
		}
	}
	if n := value[int](s, `SELECT count(*) FROM deliveries WHERE status = 'approved' AND paid_fen = 1200`); n != 1000 {
		t.Errorf("%d deliveries, want 1000", n)
	}
	s.checkLog()
}

func TestARoundThatIsToldToStopLeavesRowsForTheNext(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	s.post(exchangeRow(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewInbox(s.svc, slog.New(slog.DiscardHandler)).Round(ctx); err == nil {
		t.Error("a cancelled round says nothing")
	}
	if got := s.answers(); got[0] != "-" {
		t.Errorf("answered %q", got[0])
	}
	s.round()
	if got := s.answers(); !strings.HasPrefix(got[0], "accepted") {
		t.Errorf("answered %q", got[0])
	}
}

func TestTheExchangeRoleMayInsertAndReadItsOwnRowsOnly(t *testing.T) {
	t.Parallel()
	s := newIntake(t, Options{})
	// Roles belong to the whole server, so these bear the name of this database.
	name := value[string](s, `SELECT current_database()`)
	alice, bob := name+"_alice", name+"_bob"
	for _, role := range []string{alice, bob} {
		s.exec(`CREATE ROLE ` + pq.QuoteIdentifier(role) + ` IN ROLE emsd_exchange`)
		t.Cleanup(func() {
			s.db.Exec(`DROP OWNED BY ` + pq.QuoteIdentifier(role))
			s.db.Exec(`DROP ROLE ` + pq.QuoteIdentifier(role))
		})
	}
	for i, role := range []string{alice, bob} {
		s.asExchange(role, func(tx *sqlx.Tx) {
			if err := postRow(tx, exchangeRow(i)); err != nil {
				t.Errorf("insert as %s: %v", role, err)
			}
		})
	}
	s.round()
	s.asExchange(alice, func(tx *sqlx.Tx) {
		var seen []string
		if err := tx.Select(&seen, `SELECT permit_no || ' ' || left(result, 8) FROM inbox.approved_permits`); err != nil {
			t.Fatal(err)
		}
		if len(seen) != 1 || seen[0] != permit(0).PermitNo+" accepted" {
			t.Errorf("alice sees %q", seen)
		}
	})
	for _, query := range []string{
		`UPDATE inbox.approved_permits SET result = 'accepted'`,
		`UPDATE inbox.approved_permits SET permit_no = 'A2'`,
		`DELETE FROM inbox.approved_permits`,
		`TRUNCATE inbox.approved_permits`,
		`INSERT INTO inbox.approved_permits (permit_no, result) VALUES ('A1', 'accepted')`,
		`INSERT INTO inbox.approved_permits (permit_no, inserted_by) VALUES ('A1', 'bob')`,
		`INSERT INTO inbox.approved_permits (permit_no, result_at) VALUES ('A1', now())`,
		`SELECT id FROM deliveries`,
		`SELECT id FROM payments`,
		`SELECT id FROM data_keys`,
		`INSERT INTO stations (code, name, kind, created_at, updated_at) VALUES ('1', 'x', 'police_station', now(), now())`,
		`UPDATE policies SET valid_to = now()`,
		`CREATE TABLE inbox.mine (x integer)`,
	} {
		s.asExchange(alice, func(tx *sqlx.Tx) {
			if _, err := tx.Exec(`SAVEPOINT try`); err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(query); pqCode(err) != "42501" {
				t.Errorf("%s: %v, want insufficient privilege", query, err)
			}
			tx.Exec(`ROLLBACK TO try`)
		})
	}
}
