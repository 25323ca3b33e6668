package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ticksPerSecond is the unit of /proc/<pid>/stat; Linux has had no other on the machines that Go supports.
const ticksPerSecond = 100

// ownCPU is what this process has used, in seconds.
func ownCPU() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return seconds(u.Utime) + seconds(u.Stime), nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// treeCPU is what a server and its children have used, in seconds. Children that ended count with their parent.
func treeCPU(pid int) (float64, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	total, found := 0.0, false
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // has ended meanwhile
		}
		p, ok := parseStat(text)
		switch {
		case !ok:
		case p.pid == pid:
			found = true
			total += p.own + p.reaped
		case p.parent == pid:
			total += p.own
		}
	}
	if !found {
		return 0, fmt.Errorf("read the CPU time of PostgreSQL: no process %d", pid)
	}
	return total, nil
}

type procStat struct {
	pid, parent int
	own, reaped float64 // seconds
}

// parseStat reads one line of proc(5). The name may hold blanks and brackets.
func parseStat(text []byte) (procStat, bool) {
	open, end := bytes.IndexByte(text, ' '), bytes.LastIndexByte(text, ')')
	if open < 0 || end < 0 {
		return procStat{}, false
	}
	fields := strings.Fields(string(text[end+1:])) // from the third field on
	if len(fields) < 15 {
		return procStat{}, false
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	return procStat{
		pid: number(string(text[:open])), parent: number(fields[1]),
		own:    float64(number(fields[11])+number(fields[12])) / ticksPerSecond,
		reaped: float64(number(fields[13])+number(fields[14])) / ticksPerSecond,
	}, true
}

// peakRSS is the most memory that this process has had, in bytes.
func peakRSS() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read the peak memory: no VmHWM in /proc/self/status")
}
