package privatepg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrNotInstalled says that this machine has no PostgreSQL server programs.
var ErrNotInstalled = errors.New("no PostgreSQL server found in $PGBIN, /usr/lib/postgresql or $PATH: " +
	"install it with scripts/setup.sh, or as root with apt-get install postgresql")

// find is the directory that holds postgres and initdb: $PGBIN, or the newest of Debian's, or what $PATH names.
func find() (string, error) {
	if dir := os.Getenv("PGBIN"); dir != "" {
		if !complete(dir) {
			return "", fmt.Errorf("PGBIN=%s holds no postgres and initdb", dir)
		}
		return dir, nil
	}
	if dir := newest("/usr/lib/postgresql"); dir != "" {
		return dir, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		// A link in $PATH may point to postgres alone; initdb lies beside what it points to.
		if real, err := filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(real)) {
			return filepath.Dir(real), nil
		}
	}
	return "", ErrNotInstalled
}

// newest is the bin directory of the highest major version below root, or empty.
func newest(root string) string {
	entries, err := os.ReadDir(root)
	if err != nil {
		return ""
	}
	best, dir := 0, ""
	for _, e := range entries {
		major, err := strconv.Atoi(e.Name())
		bin := filepath.Join(root, e.Name(), "bin")
		if err == nil && major > best && complete(bin) {
			best, dir = major, bin
		}
	}
	return dir
}

func complete(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// account is who the server runs as when we are root, for PostgreSQL refuses to run as root. A nil account is
// ourselves.
type account struct {
	name     string
	uid, gid uint32
}

func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("read the account %s: %w", name, err)
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, errors.New("we are root, as whom PostgreSQL does not run, and there is neither an account postgres nor nobody")
}

func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give a file of the private PostgreSQL to %s: %w", a.name, err)
	}
	return nil
}

// canReach says early, and with a name, what initdb would only call "permission denied".
func (a *account) canReach(dir string) error {
	if a == nil {
		return nil
	}
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return fmt.Errorf("reach the private PostgreSQL: %w", err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		owned := ok && stat.Uid == a.uid && info.Mode()&0o100 != 0
		if !owned && info.Mode()&0o001 == 0 {
			return fmt.Errorf("%s is closed to the account %s, as which PostgreSQL runs when we are root: choose another directory or set TMPDIR", d, a.name)
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}
