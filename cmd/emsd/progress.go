package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"emsd/cmd/emsd/internal/intake"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// A progress shows how far an import has come.
type progress interface {
	update(read, total int64, sum intake.Summary) error
	stop()
}

// newProgress draws a bar on a terminal and prints lines elsewhere.
func newProgress(w io.Writer, name string) progress {
	if terminal(w) {
		return &barProgress{name: name, pool: mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))}
	}
	return &lineProgress{w: w, name: name}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// barProgress is for people who watch.
type barProgress struct {
	name string
	pool *mpb.Progress
	bar  *mpb.Bar
	rows int
	bad  int
}

func (p *barProgress) update(read, total int64, sum intake.Summary) error {
	if p.bar == nil {
		p.bar = p.pool.AddBar(total, mpb.PrependDecorators(decor.Name(p.name+"  ")),
			mpb.AppendDecorators(decor.Percentage(), decor.Any(func(decor.Statistics) string {
				return fmt.Sprintf("  %d rows, %d with faults", p.rows, p.bad)
			})))
	}
	p.rows, p.bad = sum.Rows, sum.Bad
	p.bar.SetCurrent(min(read, max(total-1, 0))) // the last step is stop's: a full bar is final
	return nil
}

func (p *barProgress) stop() {
	if p.bar != nil && !p.bar.Completed() {
		p.bar.SetTotal(-1, true)
	}
	p.pool.Wait()
}

// lineProgress is for logs: a line now and then.
type lineProgress struct {
	w    io.Writer
	name string
	last time.Time
}

func (p *lineProgress) update(read, total int64, sum intake.Summary) error {
	if time.Since(p.last) < 2*time.Second {
		return nil
	}
	p.last = time.Now()
	percent := ""
	if total > 0 {
		percent = fmt.Sprintf("%d %%, ", min(read*100/total, 100))
	}
	fmt.Fprintf(p.w, "%s: %s%d rows read, %d with faults\n", p.name, percent, sum.Rows, sum.Bad)
	return nil
}

func (p *lineProgress) stop() {}
