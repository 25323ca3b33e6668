package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// A Report is what was measured, on what.
type Report struct {
	Sizes   Sizes
	Took    time.Duration
	machine []setting
	server  []setting
	rows    []row
}

// A row is one figure beside its floor.
type row struct {
	id, what, unit string
	product, floor []float64
	ratios         []float64
	goal           goal
}

// A goal is a bound for the ratio, or for the figure itself.
type goal struct {
	bound, stretch float64 // 0: none
	least          bool    // the figure must not be below
	absolute       bool    // the bound is for the figure
}

// pair compares runs that took turns: each with the one beside it.
func pair(id, what, unit string, product, floor []result, value func(result) float64) row {
	r := row{id: id, what: what, unit: unit}
	for i := range product {
		p, f := value(product[i]), value(floor[i])
		r.product, r.floor, r.ratios = append(r.product, p), append(r.floor, f), append(r.ratios, p/f)
	}
	return r
}

// against compares the medians of figures that were not taken in turns.
func against(id, what, unit string, product, floor []float64) row {
	r := row{id: id, what: what, unit: unit, product: product, floor: floor}
	if len(floor) > 0 {
		r.ratios = []float64{median(product) / median(floor)}
	}
	return r
}

func (r row) atLeast(bound, stretch float64) row {
	r.goal = goal{bound: bound, stretch: stretch, least: true}
	return r
}

func (r row) atMost(bound, stretch float64) row {
	r.goal = goal{bound: bound, stretch: stretch}
	return r
}

func (r row) below(bound, stretch float64) row {
	r.goal = goal{bound: bound, stretch: stretch, absolute: true}
	return r
}

// verdict holds the median against the goal.
func (r row) verdict() string {
	of := r.ratios
	if r.goal.absolute {
		of = r.product
	}
	if len(of) == 0 || r.goal.bound == 0 && r.goal.stretch == 0 {
		return "–"
	}
	m := median(of)
	reaches := func(bound float64) bool {
		return bound > 0 && (r.goal.least && m >= bound || !r.goal.least && m <= bound)
	}
	switch {
	case reaches(r.goal.stretch):
		return "met, stretch too"
	case r.goal.bound == 0:
		return "stretch not reached"
	case reaches(r.goal.bound):
		return "met"
	}
	return "**missed**"
}

func (g goal) String() string {
	sign, unit := "≤", " ×"
	if g.least {
		sign = "≥"
	}
	if g.absolute {
		unit = ""
	}
	text := func(x float64) string { return sign + " " + strconv.FormatFloat(x, 'f', -1, 64) + unit }
	switch {
	case g.bound == 0 && g.stretch == 0:
		return "–"
	case g.bound == 0:
		return "stretch " + text(g.stretch)
	case g.stretch == 0:
		return text(g.bound)
	}
	return text(g.bound) + ", stretch " + strconv.FormatFloat(g.stretch, 'f', -1, 64)
}

func (r *Report) add(rows ...row) { r.rows = append(r.rows, rows...) }

// Missed lists the goals that were not met.
func (r *Report) Missed() []string {
	var missed []string
	for _, x := range r.rows {
		if x.verdict() == "**missed**" {
			missed = append(missed, x.id+" "+x.what)
		}
	}
	return missed
}

// describe notes machine, versions and settings.
func (r *Report) describe(ctx context.Context, db *sqlx.DB, dir string) error {
	version, all, err := settings(ctx, db)
	if err != nil {
		return err
	}
	r.server = all
	r.machine = []setting{
		{"processor", cpuModel()}, {"cores", strconv.Itoa(runtime.NumCPU())}, {"memory", memory()}, {"load before", loadAverage()},
		{"Go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH}, {"PostgreSQL", version}, {"its directory", dir + " (removed)"},
	}
	return nil
}

func procLine(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func cpuModel() string { return procLine("/proc/cpuinfo", "model name") }

func memory() string {
	kib, err := strconv.Atoi(strings.TrimSuffix(procLine("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(kib)/(1<<20))
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	fields := strings.Fields(string(text))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile is the smallest value that p of a hundred do not exceed.
func percentile(x []float64, p int) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return s[min(len(s)-1, (len(s)*p+99)/100-1)]
}

// spread writes the median and, of several, the range.
func spread(x []float64, digits int) string {
	if len(x) == 0 {
		return "–"
	}
	number := func(v float64) string {
		if v >= 1000 {
			return count(int(v + 0.5))
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	if len(x) == 1 {
		return number(x[0])
	}
	return number(median(x)) + " (" + number(slices.Min(x)) + "–" + number(slices.Max(x)) + ")"
}

func digitsOf(unit string) int {
	switch unit {
	case "ms", "% of a core":
		return 2
	case "µs", "MiB", "s":
		return 1
	}
	return 0
}

// count writes a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (r *Report) markdown() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nThe last run of `emsd bench` (`make bench`), which writes this page. Each figure stands beside the floor of the same run: a\n" +
		"hand-written loop that does only the work, with the same HTTP library, driver, workers and lanes, and Go's collector as it is (the daemon has a reserve, `internal/heap`). What\ncounts is the ratio; machines are noisy.\n\n")
	b.WriteString("| | figure | product | floor | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, x := range r.rows {
		d := digitsOf(x.unit)
		fmt.Fprintf(&b, "| %s | %s, %s | %s | %s | %s | %s | %s |\n", x.id, x.what, x.unit, spread(x.product, d), spread(x.floor, d),
			spread(x.ratios, 2), x.goal, x.verdict())
	}
	b.WriteString("\nMedians, with the range in brackets. Where \"beside it\" is said, the column of the floor holds that. CPU is that of the process and of all of PostgreSQL's\n" +
		"processes; the stub runs in a process of its own and counts for nobody. Every run ends with a check that each item was asked about and stored exactly once.\n\n")
	if missed := r.Missed(); len(missed) > 0 {
		b.WriteString("Missed: " + strings.Join(missed, "; ") + ".\n`emsd bench --profile FILE` writes a CPU profile of the product's runs.\n\n")
	}
	b.WriteString("## Machine and settings\n\n| | |\n|---|---|\n")
	for _, s := range slices.Concat(r.machine, r.server) {
		fmt.Fprintf(&b, "| %s | %s |\n", s.Name, s.Value)
	}
	s := r.Sizes
	fmt.Fprintf(&b, "\n%d rounds of %s polls and of %s orders; %s polls with a snapshot held; %s permits; %d payments. The whole took %s.\n", s.Rounds, count(s.Polls),
		count(s.Orders), count(s.Snapshot), count(s.Permits), s.Payments, r.Took.Round(time.Second))
	return b.String()
}
