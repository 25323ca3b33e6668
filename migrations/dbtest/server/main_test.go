package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"emsd/migrations/dbtest"
)

func TestTheCommandMeetsAServerAndItsCodeIsOurs(t *testing.T) {
	t.Parallel()
	said := filepath.Join(t.TempDir(), "said")
	code, err := run([]string{"sh", "-c", `printf %s "$` + dbtest.URLEnv + `" >"$0"; exit 7`, said})
	if err != nil || code != 7 {
		t.Errorf("run = %d, %v, want the command's 7", code, err)
	}
	url, err := os.ReadFile(said)
	if err != nil || !strings.HasPrefix(string(url), "postgres://postgres:") {
		t.Errorf("the command saw %s = %q, %v, want an address", dbtest.URLEnv, url, err)
	}
}

func TestACommandEndedByASignalIsAFailure(t *testing.T) {
	t.Parallel()
	if code, err := run([]string{"sh", "-c", "kill -TERM $$"}); err != nil || code != 128+15 {
		t.Errorf("run = %d, %v, want 143 as in a shell", code, err)
	}
}

func TestAnUnknownCommandIsSaid(t *testing.T) {
	t.Parallel()
	if code, err := run([]string{"/nowhere/at-all"}); err == nil || code != 127 {
		t.Errorf("run = %d, %v, want 127 and why", code, err)
	}
}
