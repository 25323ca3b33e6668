package privatepg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func fakePrograms(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewestMajorVersionWins(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	fakePrograms(t, filepath.Join(root, "9", "bin"))
	fakePrograms(t, filepath.Join(root, "15", "bin"))
	if err := os.MkdirAll(filepath.Join(root, "17", "bin"), 0o755); err != nil { // a client without a server
		t.Fatal(err)
	}
	if got, want := newest(root), filepath.Join(root, "15", "bin"); got != want {
		t.Errorf("newest = %q, want %q", got, want)
	}
	if got := newest(filepath.Join(root, "absent")); got != "" {
		t.Errorf("newest of an absent directory = %q, want none", got)
	}
}

func TestPGBINComesFirst(t *testing.T) {
	dir := t.TempDir()
	fakePrograms(t, dir)
	t.Setenv("PGBIN", dir)
	if got, err := find(); got != dir || err != nil {
		t.Errorf("find = %q, %v, want %q", got, err, dir)
	}
	t.Setenv("PGBIN", filepath.Join(dir, "absent"))
	if _, err := find(); err == nil || !strings.Contains(err.Error(), "PGBIN") {
		t.Errorf("find with a wrong PGBIN = %v, want an error that names it", err)
	}
}

func TestAClosedDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	nobody := &account{name: "nobody", uid: 65534, gid: 65534}
	if err := nobody.canReach(closed); err == nil || !strings.Contains(err.Error(), closed) {
		t.Errorf("canReach = %v, want an error that names %s", err, closed)
	}
	if err := nobody.canReach("/usr"); err != nil {
		t.Errorf("canReach(/usr) = %v", err)
	}
}
