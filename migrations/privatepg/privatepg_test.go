package privatepg_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"emsd/courier/asynctest"
	"emsd/migrations/privatepg"

	_ "github.com/lib/pq"
)

// childEnv makes this test binary start a server and wait to be killed: see TestAKilledStarterLeavesNothing.
const childEnv = "EMSD_PRIVATEPG_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		s, err := privatepg.Start(context.Background(), privatepg.Options{})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(s.Dir(), s.PID())
		select {}
	}
	os.Exit(m.Run())
}

func start(t *testing.T, o privatepg.Options) *privatepg.Server {
	t.Helper()
	s, err := privatepg.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func open(t *testing.T, s *privatepg.Server) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func one[T any](t *testing.T, db *sql.DB, query string) T {
	t.Helper()
	var v T
	if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func exec1(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func absent(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat %s = %v, want it gone", dir, err)
	}
}

func TestSettingsAreOursAndCrashSafe(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{Settings: map[string]string{"work_mem": "7MB", "cluster_name": `it's a \ test`}})
	db := open(t, s)
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"max_connections": "200", "listen_addresses": "127.0.0.1", "server_encoding": "UTF8",
		"TimeZone": "UTC", "work_mem": "7MB", "cluster_name": `it's a \ test`,
	} {
		if got := one[string](t, db, "SHOW "+name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := one[string](t, db, "SELECT current_setting('is_superuser')"); got != "on" {
		t.Errorf("is_superuser = %q, want on", got)
	}
}

func TestOverTCPThePasswordIsAsked(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{})
	db, err := sql.Open("postgres", "postgres://postgres:wrong@"+s.Addr()+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("ping with a wrong password = %v, want it refused", err)
	}
	info, err := os.Stat(filepath.Join(s.Dir(), "sock"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("socket directory has mode %o, want 700: whoever enters it needs no password", got)
	}
}

func TestCommittedRowsSurviveRestartAndCrash(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{})
	db := open(t, s)
	exec1(t, db, "CREATE TABLE kept (n int)")
	exec1(t, db, "INSERT INTO kept VALUES (1)")
	addr := s.Addr()

	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec1(t, db, "INSERT INTO kept VALUES (2)")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if s.PID() != 0 {
		t.Errorf("PID of a killed server = %d, want 0", s.PID())
	}
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("a killed server answers")
	}
	if err := s.StartAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.StartAgain(t.Context()); err != nil {
		t.Errorf("StartAgain of a running server = %v, want nothing done", err)
	}
	if got := one[int](t, db, "SELECT count(*) FROM kept"); got != 2 {
		t.Errorf("%d rows after restart and crash, want 2", got)
	}
	if s.Addr() != addr {
		t.Errorf("address is now %s, want %s as before", s.Addr(), addr)
	}
	log, err := os.ReadFile(s.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "was not properly shut down") {
		t.Error("the log shows no crash recovery, so Kill was no crash")
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, privatepg.Options{})
	pid := s.PID()
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	absent(t, s.Dir())
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v, want it gone", pid, err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}
	if err := s.StartAgain(t.Context()); err == nil {
		t.Error("StartAgain after Stop succeeded")
	}
}

func TestAKilledStarterLeavesNothing(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir, number, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok || !filepath.IsAbs(dir) {
		t.Fatalf("the child said %q, %v", line, err)
	}
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child's server %d: %v, want it running", pid, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended well, want it killed")
	}
	asynctest.Eventually(t, "the directory of the server is removed", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
	asynctest.Eventually(t, "the server has ended", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func TestDirInUseIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "emsd-pg-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := privatepg.Start(t.Context(), privatepg.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("Start in a used directory = %v, want it refused", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Errorf("the file in it: %v, want it kept", err)
	}
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("emsd-pg-test-%d", os.Getpid()))
	_, err := privatepg.Start(t.Context(), privatepg.Options{Dir: dir, Settings: map[string]string{"work_mem": "plenty"}})
	if err == nil || !strings.Contains(err.Error(), "work_mem") {
		t.Errorf("Start with a bad setting = %v, want the server's own words", err)
	}
	absent(t, dir)
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := privatepg.Start(ctx, privatepg.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want context canceled", err)
	}
}

func BenchmarkStartStop(b *testing.B) {
	for name, inMemory := range map[string]bool{"disk": false, "memory": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := privatepg.Start(b.Context(), privatepg.Options{InMemory: inMemory})
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Stop(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
