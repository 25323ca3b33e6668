package privatepg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errPortTaken = errors.New("the port of the private PostgreSQL is taken")

// readyEvery is how often the start is looked at; a server on an empty cluster is ready after about 50 ms.
const readyEvery = 5 * time.Millisecond

// maxSocketPath is what the kernel's sockaddr_un holds, less the closing zero.
const maxSocketPath = 107

// memory is where Linux keeps files without a disk; minMemory is what a test run with its log may need there.
const (
	memory    = "/dev/shm"
	minMemory = 2 << 30
)

func roomInMemory() bool {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(memory, &stat); err != nil {
		return false
	}
	return stat.Bavail*uint64(stat.Bsize) >= minMemory && syscall.Access(memory, 2 /* W_OK */) == nil
}

// makeDir makes the directory that only the server's account may enter.
func makeDir(o Options, user *account) (string, error) {
	dir := o.Dir
	if inMemory := o.InMemory && roomInMemory(); dir == "" || inMemory {
		below := ""
		if inMemory {
			below = memory
		}
		made, err := os.MkdirTemp(below, "emsd-pg-")
		if err != nil {
			return "", fmt.Errorf("make a directory for the private PostgreSQL: %w", err)
		}
		dir = made
	} else if err := takeDir(dir); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("make a directory for the private PostgreSQL: %w", err)
	}
	if err := furnish(dir, user); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// takeDir accepts only an absent or empty directory, because Stop deletes it with all it holds.
func takeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = os.MkdirAll(dir, 0o700)
	case err == nil && len(entries) > 0:
		err = fmt.Errorf("%s is not empty", dir)
	}
	if err != nil {
		return fmt.Errorf("make a directory for the private PostgreSQL: %w", err)
	}
	return nil
}

func furnish(dir string, user *account) error {
	if path := filepath.Join(dir, "sock", ".s.PGSQL.65535"); len(path) > maxSocketPath {
		return fmt.Errorf("directory %s: its name is too long for the socket of a private PostgreSQL", dir)
	}
	if err := user.canReach(filepath.Dir(dir)); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, "sock"), filepath.Join(dir, "data")} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make a directory for the private PostgreSQL: %w", err)
		}
		if err := os.Chmod(d, 0o700); err != nil {
			return fmt.Errorf("make a directory for the private PostgreSQL: %w", err)
		}
		if err := user.own(d); err != nil {
			return err
		}
	}
	return nil
}

// create runs initdb and writes the settings.
func (s *Server) create(ctx context.Context, settings map[string]string) error {
	pwfile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(pwfile, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("create the private PostgreSQL: %w", err)
	}
	if err := s.user.own(pwfile); err != nil {
		return err
	}
	initlog := filepath.Join(s.dir, "initdb.log")
	// --no-sync concerns the empty cluster only: nobody has been promised anything yet.
	p, err := launch(s.command("initdb", "-D", s.data(), "-U", superuser, "-E", "UTF8", "--locale="+locale(),
		"--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile="+pwfile, "--no-sync", "--no-instructions"),
		syscall.SIGKILL, initlog)
	if err != nil {
		return fmt.Errorf("run initdb: %w", err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.signal(syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("run initdb: %w", ctx.Err())
	}
	if p.err != nil {
		said, _ := os.ReadFile(initlog)
		return fmt.Errorf("run initdb: %w: %s", p.err, lastLines(said))
	}
	if err := os.Remove(pwfile); err != nil {
		return fmt.Errorf("create the private PostgreSQL: %w", err)
	}
	return s.configure(settings)
}

// configure appends to postgresql.conf. It must not touch fsync, synchronous_commit and full_page_writes.
func (s *Server) configure(settings map[string]string) error {
	all := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": s.socket(),
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"log_line_prefix":         "%m [%p] %d ",
	}
	maps.Copy(all, settings)
	var conf strings.Builder
	conf.WriteString("\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(all[name]))
	}
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure the private PostgreSQL: %w", err)
	}
	_, err = f.WriteString(conf.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure the private PostgreSQL: %w", err)
	}
	return nil
}

// command is a program of PostgreSQL, run as the server's account and without the PG… variables of our caller.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "HOME=" + s.dir, "TZ=UTC"}
	// A session of its own: Ctrl-C on the terminal is for the daemon, which still needs its database to finish.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.user.credential()}
	return cmd
}

// waitReady reads postmaster.pid as pg_ctl does: its eighth line says ready once sessions are welcome.
func (s *Server) waitReady(ctx context.Context, logAt int64) error {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		if s.ready() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the private PostgreSQL: %w", ctx.Err())
		case <-s.proc.done:
			return s.startError(logAt)
		case <-tick.C:
		}
	}
}

func (s *Server) ready() bool {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(text), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(s.proc.pid()) && strings.TrimSpace(lines[7]) == "ready"
}

func (s *Server) startError(logAt int64) error {
	said, err := os.ReadFile(s.LogFile())
	if err != nil {
		return fmt.Errorf("start the private PostgreSQL: %w", err)
	}
	said = said[min(int(logAt), len(said)):]
	if bytes.Contains(said, []byte("could not create any TCP/IP sockets")) {
		return fmt.Errorf("%w: %s", errPortTaken, s.Addr())
	}
	return fmt.Errorf("start the private PostgreSQL: %w: %s", s.proc.err, lastLines(said))
}

func (s *Server) logSize() int64 {
	info, err := os.Stat(s.LogFile())
	if err != nil {
		return 0
	}
	return info.Size()
}

func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// locale prefers C.UTF-8, whose order is by code point as in C, but which knows upper and lower case beyond ASCII.
func locale() string {
	for _, name := range []string{"C.UTF-8", "C.utf8"} {
		out, err := exec.Command("locale", "-a").Output()
		if err == nil && slices.Contains(strings.Fields(string(out)), name) {
			return name
		}
	}
	return "C"
}

// freePort stays below the range from which the kernel takes ports for outgoing connections: one of those could take
// ours while the server is down in the middle of a restart.
func freePort() (int, error) {
	const lowest, highest = 15000, 32000
	var last error
	for range 50 {
		n, err := rand.Int(rand.Reader, big.NewInt(highest-lowest))
		if err != nil {
			return 0, fmt.Errorf("choose a port: %w", err)
		}
		port := lowest + int(n.Int64())
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("choose a free port on 127.0.0.1: %w", last)
}

func newPassword() string { return rand.Text() }
