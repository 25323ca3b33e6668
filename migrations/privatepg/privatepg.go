// Package privatepg starts a PostgreSQL server of its own: on a free port, in a directory of its own, and gone without
// a trace when it is stopped or when the process that started it dies. Tests, the demo and the bench run on it.
//
// It is not for production data: the directory is deleted at the end. But as long as it runs it is as crash-safe as
// any server (fsync, synchronous_commit and full_page_writes keep their defaults), so that what a test proves about
// crashes, and what a bench measures, holds elsewhere.
package privatepg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// superuser is the role that DSN signs in as.
const superuser = "postgres"

// stopTimeout bounds a fast shutdown, which writes a checkpoint; after it the server is told to drop everything.
const stopTimeout = 30 * time.Second

// Options of a server. The zero value is a usable server.
type Options struct {
	// Dir holds everything of the server. It must be absent or empty, and Stop removes it. Empty means a new
	// directory below the one for temporary files.
	Dir string
	// InMemory puts the new directory into /dev/shm when that has room, else where Dir says. The server stays
	// crash-safe as far as processes go, and a test database costs a tenth; a bench would measure nothing.
	InMemory bool
	// Settings are written into postgresql.conf after our own, which they override.
	Settings map[string]string
}

// Server is a private PostgreSQL. Its methods may be called from any goroutine.
type Server struct {
	dir      string
	bin      string
	user     *account // nil: run as who we are
	port     int
	password string
	guard    *guard

	mu   sync.Mutex
	proc *process // nil when the server is down
	gone bool     // after Stop
}

// Start makes a database cluster and runs a server on it, within about a second. The caller must Stop it.
func Start(ctx context.Context, o Options) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, password: newPassword()}
	if s.user, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.dir, err = makeDir(o, s.user); err != nil {
		return nil, err
	}
	if s.guard, err = watch(s.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.create(ctx, o.Settings); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.firstStart(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// DSN is the address of a database on the server, as lib/pq takes it. It signs in as a superuser over TCP.
func (s *Server) DSN(dbname string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     s.Addr(),
		Path:     "/" + dbname,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Addr is the TCP address; it stays the same over restarts.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// Dir is the directory that holds everything of the server.
func (s *Server) Dir() string { return s.dir }

// LogFile is where the server writes its log.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

// PID is the process id of the running server, 0 when it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid()
}

// Restart shuts the server down in order, ending all sessions, and starts it again.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.end(syscall.SIGINT); err != nil {
		return err
	}
	return s.start(ctx)
}

// Kill crashes the server: no checkpoint, no goodbye to its clients. StartAgain then recovers from the log.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end(syscall.SIGQUIT)
}

// StartAgain starts a server that was killed, at the same address. It does nothing when the server runs.
func (s *Server) StartAgain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start(ctx)
}

// Stop ends the server and removes its directory. A second call does nothing.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil
	}
	s.gone = true
	// The data is thrown away, so there is no point in a checkpoint first.
	err := s.end(syscall.SIGQUIT)
	if rmErr := os.RemoveAll(s.dir); rmErr != nil {
		err = errors.Join(err, fmt.Errorf("remove the private PostgreSQL: %w", rmErr))
	}
	return errors.Join(err, s.guard.dismiss())
}

// firstStart tries several ports, for another process may take the one that was free a moment ago.
func (s *Server) firstStart(ctx context.Context) error {
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		s.mu.Lock()
		err = s.start(ctx)
		s.mu.Unlock()
		if !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

func (s *Server) start(ctx context.Context) error {
	if s.gone {
		return errors.New("start the private PostgreSQL: it was stopped for good")
	}
	if s.proc != nil && s.proc.running() {
		return nil
	}
	logAt := s.logSize()
	p, err := launch(s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port)), syscall.SIGQUIT, s.LogFile())
	if err != nil {
		return fmt.Errorf("start the private PostgreSQL: %w", err)
	}
	s.proc = p
	if err := s.waitReady(ctx, logAt); err != nil {
		return errors.Join(err, s.end(syscall.SIGQUIT))
	}
	return nil
}

// end sends sig and waits until the server has gone.
func (s *Server) end(sig syscall.Signal) error {
	p := s.proc
	if p == nil {
		return nil
	}
	s.proc = nil
	p.signal(sig)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
	}
	p.signal(syscall.SIGKILL)
	<-p.done
	return fmt.Errorf("private PostgreSQL in %s: did not end within %s of %s, killed", s.dir, stopTimeout, sig)
}

func (s *Server) data() string   { return filepath.Join(s.dir, "data") }
func (s *Server) socket() string { return filepath.Join(s.dir, "sock") }
