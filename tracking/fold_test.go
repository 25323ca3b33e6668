package tracking

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A worked trace of testdata/traces.txt.
type worked struct {
	name      string
	orderedAt time.Time
	scans     []courier.Scan
	want      string
}

func TestI6_WorkedTraces(t *testing.T) {
	t.Parallel()
	traces := readTraces(t)
	if len(traces) < 25 {
		t.Fatalf("%d worked traces, want at least 25", len(traces))
	}
	for _, tr := range traces {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tr.want, summary(Fold(tr.scans, tr.orderedAt))); diff != "" {
				t.Errorf("Fold: want -, got +\n%s", diff)
			}
			shuffled := slices.Clone(tr.scans)
			for range 5 {
				rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				if diff := cmp.Diff(tr.want, summary(Fold(shuffled, tr.orderedAt))); diff != "" {
					t.Fatalf("Fold of another order of arrival: want -, got +\n%s", diff)
				}
			}
		})
	}
}

// anyScans draws traces dense in time, codes and voids, so that ties and voids meet their targets.
func anyScans() *rapid.Generator[[]courier.Scan] {
	frequent := []string{"203", "208", "207", "212", "303", "304", "305", "389", "702", "704", "705", "742", "743", "744", "747", "748", "723",
		"749", "708", "447", "448", "711", "741", "801", "988", "802", "Z99"}
	var all []string
	for c := range codes {
		all = append(all, c)
	}
	slices.Sort(all)
	var deliver, attempt []string
	for c := range receivers {
		deliver = append(deliver, c)
	}
	for c := range attempts {
		attempt = append(attempt, c)
	}
	slices.Sort(deliver)
	slices.Sort(attempt)
	return rapid.Custom(func(t *rapid.T) []courier.Scan {
		scans := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) courier.Scan {
			s := courier.Scan{
				At:      base.Add(time.Duration(rapid.IntRange(-2, 40).Draw(t, "hour")) * time.Hour),
				Code:    rapid.OneOf(rapid.SampledFrom(frequent), rapid.SampledFrom(all)).Draw(t, "code"),
				OrgCode: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "org"),
			}
			// What a scan says belongs to its identity here: the store keeps the first telling.
			h := int(s.At.Unix()/3600) + len(s.OrgCode) + int(s.OrgCode[0])
			switch s.Code {
			case "704":
				s.DeliverCode = deliver[h%len(deliver)]
			case "705":
				s.AttemptCode = attempt[h%len(attempt)]
			}
			return s
		}), 0, 24).Draw(t, "scans")
		return scans
	})
}

var base = time.Date(2024, 12, 26, 0, 0, 0, 0, beijing)

func TestI6_OrderAndRepetitionOfArrivalChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := anyScans().Draw(t, "scans")
		want := Fold(scans, base)
		twice := append(slices.Clone(scans), scans...)
		again := rapid.Permutation(twice).Draw(t, "again")
		if diff := cmp.Diff(summary(want), summary(Fold(again, base))); diff != "" {
			t.Fatalf("Fold of the same scans twice and shuffled: want -, got +\n%s", diff)
		}
	})
}

func TestI6_AScanIsNeverLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := anyScans().Draw(t, "scans")
		line, ignored := defaultBook.arrange(scans, base)
		for _, s := range scans {
			same := func(x entry) bool { return sameScan(s, *x.Scan) }
			if !slices.ContainsFunc(line, same) && !slices.ContainsFunc(ignored, same) {
				t.Fatalf("scan %s at %s is neither counted nor listed as ignored", s.Code, s.At)
			}
		}
	})
}

func TestI6_AVoidTakesBackOneScan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		line, _ := defaultBook.arrange(anyScans().Draw(t, "scans"), time.Time{})
		matchVoids(line)
		for i := range line {
			x := &line[i]
			if v := x.target; v >= 0 {
				if line[v].voidedBy != i || !slices.Contains(codes[x.Code].Voids, line[v].Code) {
					t.Fatalf("%s at %d takes back %s at %d, which is voided by %d", x.Code, i, line[v].Code, v, line[v].voidedBy)
				}
				if v > i && line[v].At.Sub(x.At) > skew {
					t.Fatalf("%s at %d takes back what came %s later", x.Code, i, line[v].At.Sub(x.At))
				}
			}
			if v := x.voidedBy; v >= 0 && line[v].target != i {
				t.Fatalf("scan %d is voided by %d, which takes back %d", i, v, line[v].target)
			}
		}
		// No voiding scan is left idle, or reaches ahead, while something it names stands before it.
		for i := range line {
			if line[i].group != Void || line[i].target >= 0 && line[i].target < i {
				continue
			}
			for j := range i {
				if slices.Contains(codes[line[i].Code].Voids, line[j].Code) && line[j].voidedBy < 0 {
					t.Fatalf("%s at %d takes back nothing earlier although %s at %d stands", line[i].Code, i, line[j].Code, j)
				}
			}
		}
	})
}

func TestI6_WithoutANamedRuleAFinalStatusStays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries, _ := defaultBook.arrange(anyScans().Draw(t, "scans"), base)
		var line []courier.Scan
		before := Fold(nil, base)
		for i, x := range entries { // in the order of time: no scan is late
			line = append(line, *x.Scan)
			after := Fold(line, base)
			if !before.Status.MayBecome(after.Status, "") && before.Status != after.Status && (after.Rule == "" || !sameScan(after.RuleScan, line[i])) {
				t.Fatalf("%s became %s by %s under the rule %q", before.Status, after.Status, line[i].Code, after.Rule)
			}
			before = after
		}
	})
}

func TestI7_OnlyTheHoldersOwnHandsAreASuccess(t *testing.T) {
	t.Parallel()
	for code, r := range receivers {
		got := Fold([]courier.Scan{{At: base, Code: "704", DeliverCode: code}}, base)
		clean := got.Status == courier.Delivered && len(got.Concerns) == 0
		if want := r.Class == "self"; clean != want {
			t.Errorf("704 with deliverCode %s (%s): %s, delivered and no case = %v, want %v", code, r.Name, summary(got), clean, want)
		}
	}
}

func TestI7_NoScanButADeliveryDelivers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := slices.DeleteFunc(anyScans().Draw(t, "scans"), func(s courier.Scan) bool { return codes[s.Code].Group == Delivered })
		if got := Fold(scans, base); got.Status == courier.Delivered {
			t.Fatalf("delivered without a 704, 748 or their twins abroad: %s", summary(got))
		}
	})
}

func TestFoldOfALongTrace(t *testing.T) {
	t.Parallel()
	var scans []courier.Scan
	for i := range 10_000 {
		scans = append(scans, courier.Scan{At: base.Add(time.Duration(i) * time.Second), Code: []string{"389", "954", "702", "705", "744", "742"}[i%6]})
	}
	scans = append(scans, courier.Scan{At: base.Add(24 * time.Hour), Code: "704", DeliverCode: "10"})
	if got := Fold(scans, base); got.Status != courier.Delivered {
		t.Errorf("Fold of %d scans = %s, want delivered", len(scans), got.Status)
	}
}

func TestFoldLeavesItsArgumentAlone(t *testing.T) {
	t.Parallel()
	scans := []courier.Scan{{At: base.Add(time.Hour), Code: "702"}, {At: base, Code: "203"}, {At: base, Code: "203"}}
	Fold(scans, base)
	if scans[0].Code != "702" || len(scans) != 3 {
		t.Errorf("Fold reordered its argument: %v", scans)
	}
}

func BenchmarkFold(b *testing.B) {
	var scans []courier.Scan
	for i, c := range []string{"203", "305", "954", "389", "954", "389", "306", "702", "705", "702", "704"} {
		scans = append(scans, courier.Scan{At: base.Add(time.Duration(i) * time.Hour), Code: c, OrgCode: "11000001"})
	}
	for b.Loop() {
		Fold(scans, base)
	}
}

// summary writes a result as testdata/traces.txt does.
func summary(r Result) string {
	out := []string{"status=" + string(r.Status)}
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"="+value)
		}
	}
	if !r.Since.IsZero() {
		add("since", r.Since.In(beijing).Format("2006-01-02T15:04:05"))
	}
	add("receiver", r.Receiver)
	if !r.HeldUntil.IsZero() {
		add("held_until", r.HeldUntil.Format(time.DateOnly))
	}
	add("rule", r.Rule)
	if r.Withdrawn {
		add("withdrawn", "true")
	}
	for _, u := range r.Unknown {
		add("unknown", u)
	}
	if len(r.Ignored) > 0 {
		add("ignored", fmt.Sprint(len(r.Ignored)))
	}
	for _, c := range r.Concerns {
		add("case", string(c.Kind)+":"+c.Code)
	}
	return strings.Join(out, " ")
}

func readTraces(t *testing.T) []worked {
	t.Helper()
	f, err := os.Open("testdata/traces.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var traces []worked
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "== "):
			traces = append(traces, worked{name: line[3:]})
		case len(traces) == 0:
			t.Fatalf("traces.txt:%d: before the first trace", n)
		case strings.HasPrefix(line, "order "):
			traces[len(traces)-1].orderedAt = parseTime(t, line[6:])
		case strings.HasPrefix(line, "=> "):
			traces[len(traces)-1].want = line[3:]
		default:
			traces[len(traces)-1].scans = append(traces[len(traces)-1].scans, parseScan(t, line))
		}
	}
	return traces
}

// parseScan reads "2024-12-26 09:00:00 704/10 ORG".
func parseScan(t *testing.T, line string) courier.Scan {
	t.Helper()
	p := strings.Fields(line)
	if len(p) < 3 {
		t.Fatalf("scan %q", line)
	}
	s := courier.Scan{At: parseTime(t, p[0]+" "+p[1])}
	code, detail, _ := strings.Cut(p[2], "/")
	s.Code = code
	if code == "705" {
		s.AttemptCode = detail
	} else {
		s.DeliverCode = detail
	}
	if len(p) > 3 {
		s.OrgCode = p[3]
	}
	return s
}

func parseTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation(time.DateTime, text, beijing)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
