package privatepg

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a child that dies with us.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	err  error         // of Wait; read after done
}

// launch starts cmd with its output appended to logfile. deathSignal reaches the child when we die, however we die.
//
// The kernel ties that signal to the thread that started the child, not to the process; so the thread is kept until
// the child has ended.
func launch(cmd *exec.Cmd, deathSignal syscall.Signal, logfile string) (*process, error) {
	log, err := os.OpenFile(logfile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// A file, never our own output: go test would wait for whoever holds its pipe.
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = deathSignal
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal is for a child that may have ended already, which is as good.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// guard is a shell that outlives us and cleans up when we die without calling Stop: it reads a pipe whose other end
// only we hold, so end of file means that we are gone or done.
type guard struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// The working directory of the process is compared because its number may belong to somebody else by now.
const guardScript = `
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; then
	kill -QUIT "$pid"
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
fi
n=0
while ! rm -rf "$1" && [ $n -lt 100 ]; do sleep 0.05; n=$((n + 1)); done
`

func watch(dir string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "emsd-pg-guard", dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C and a killed process group are not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard of the private PostgreSQL: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of the private PostgreSQL: %w", err), pipe.Close())
	}
	return &guard{cmd: cmd, pipe: pipe}, nil
}

// dismiss ends the guard; it finds nothing left to do.
func (g *guard) dismiss() error {
	err := g.pipe.Close()
	if waitErr := g.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("end the guard of the private PostgreSQL: %w", waitErr))
	}
	return err
}
