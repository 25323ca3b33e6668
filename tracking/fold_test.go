package tracking

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"emsd/courier"
	"emsd/courier/vault"
	"emsd/tracking/tracetest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write what comes of the worked traces into their files")

const tracesDir = "testdata/traces"

func readTraces(t *testing.T) []tracetest.Trace {
	t.Helper()
	traces, err := tracetest.Read(tracesDir)
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

// told gives the scans of a trace as they are when their texts have been read.
func told(tr tracetest.Trace) []courier.Scan {
	var scans []courier.Scan
	for _, s := range tr.Scans {
		if s.At.Sub(s.SeenAt) <= ahead {
			scans = append(scans, readText(s.Scan))
		}
	}
	return scans
}

func TestI6_WorkedTraces(t *testing.T) {
	t.Parallel()
	traces := readTraces(t)
	if len(traces) < 100 {
		t.Fatalf("%d worked traces, want at least 100", len(traces))
	}
	got := map[string]map[string]string{}
	for _, tr := range traces {
		scans, e := told(tr), Envelope{OrderedAt: tr.OrderedAt, IDChecked: tr.IDChecked}
		got[tr.Name] = outcome(DefaultRulebook().Fold(scans, e))
		want := maps.Clone(tr.Want)
		delete(want, tracetest.Messages) // see cmd/emsd
		if *update {
			want = maps.Clone(got[tr.Name])
		}
		maps.DeleteFunc(got[tr.Name], func(_, v string) bool { return v == "" })
		maps.DeleteFunc(want, func(_, v string) bool { return v == "" })
		if diff := cmp.Diff(want, got[tr.Name]); diff != "" {
			t.Errorf("%s, %s: want -, got +\n%s", tr.File, tr.Name, diff)
		}
		for range 8 {
			rand.Shuffle(len(scans), func(i, j int) { scans[i], scans[j] = scans[j], scans[i] })
			again := outcome(DefaultRulebook().Fold(append(scans, scans...), e))
			maps.DeleteFunc(again, func(_, v string) bool { return v == "" })
			if diff := cmp.Diff(got[tr.Name], again); diff != "" {
				t.Errorf("%s, in another order of arrival: want -, got +\n%s", tr.Name, diff)
			}
		}
	}
	if *update {
		if err := tracetest.Update(tracesDir, got); err != nil {
			t.Fatal(err)
		}
	}
}

// outcome writes a result as the worked traces have it.
func outcome(r Result) map[string]string {
	m := map[string]string{}
	for _, key := range tracetest.Keys {
		if key != tracetest.Messages {
			m[key] = ""
		}
	}
	m[tracetest.Status] = string(r.Status)
	if !r.Since.IsZero() {
		m[tracetest.Status] += " " + stages[r.Status] + "，自 " + r.Since.In(beijing).Format(time.DateTime)
	}
	m[tracetest.Receiver] = strings.TrimSpace(r.Receiver + " " + r.Receipt)
	if !r.HeldUntil.IsZero() {
		m[tracetest.HeldUntil] = r.HeldUntil.Format(time.DateOnly)
	}
	var cases []string
	for _, c := range r.Concerns {
		cases = append(cases, string(c.Kind)+":"+c.Code)
	}
	m[tracetest.Cases] = strings.Join(cases, "、")
	m[tracetest.Reopened] = r.Rule
	if r.Withdrawn {
		m[tracetest.Withdrawn] = "是，代码 " + r.VoidedBy.Code
	}
	m[tracetest.Unknown] = strings.Join(r.Unknown, "、")
	if len(r.Ignored) > 0 {
		m[tracetest.Ignored] = strconv.Itoa(len(r.Ignored)) + " 条"
	}
	return m
}

// wordings are what 704s and held scans say in the property tests; two tellings of one scan may differ in them.
var wordings = []string{"", "您的快件已签收【本人，，】", "您的快件已代签收【家人，，】", "您的快件已放在家门口", "您的快件已存放【丰巢快递柜】",
	"请于12月28日前领取", "免费保管3天", "快件已到【示例驿站】"}

// anyScans draws traces dense in time, codes, voids and tellings, so that ties and voids meet their targets.
func anyScans() *rapid.Generator[[]courier.Scan] {
	frequent := []string{"203", "208", "207", "212", "303", "304", "305", "389", "702", "704", "704", "705", "742", "743", "744", "747", "748",
		"723", "749", "708", "447", "448", "711", "741", "801", "988", "802", "651", "993", "013", "Z99"}
	var all []string
	for c := range codes {
		all = append(all, c)
	}
	slices.Sort(all)
	deliver, attempt := []string{"", "777"}, []string{"", "99"}
	for c := range receivers {
		deliver = append(deliver, c)
	}
	for c := range attempts {
		attempt = append(attempt, c)
	}
	slices.Sort(deliver)
	slices.Sort(attempt)
	return rapid.Custom(func(t *rapid.T) []courier.Scan {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) courier.Scan {
			s := courier.Scan{
				At: base.Add(time.Duration(rapid.IntRange(-2, 40).Draw(t, "hour"))*time.Hour +
					time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 30, 120}).Draw(t, "second"))*time.Second),
				Code:    rapid.OneOf(rapid.SampledFrom(frequent), rapid.SampledFrom(all)).Draw(t, "code"),
				OrgCode: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "org"),
			}
			s.Desc = vault.Conceal(rapid.SampledFrom(wordings).Draw(t, "text"))
			switch s.Code {
			case "704":
				s.DeliverCode = rapid.SampledFrom(deliver).Draw(t, "deliverCode")
			case "705":
				s.AttemptCode = rapid.SampledFrom(attempt).Draw(t, "attemptCode")
			}
			return readText(s)
		}), 0, 24).Draw(t, "scans")
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
			same := func(x entry) bool { return sameScan(&s, x.Scan) }
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
			if !before.Status.MayBecome(after.Status, "") && before.Status != after.Status && (after.Rule == "" || !sameScan(&after.RuleScan, &line[i])) {
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
		if want := r.Class == ReceiverSelf; clean != want || clean != (got.Receipt == receiptFine) {
			t.Errorf("704 with deliverCode %s (%s): %s %s, delivered and no case = %v, want %v", code, r.Name, summary(got), got.Receipt, clean, want)
		}
	}
}

func TestI7_EveryDeliveryHasAReceipt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		got := DefaultRulebook().Fold(anyScans().Draw(t, "scans"), Envelope{OrderedAt: base, IDChecked: rapid.Bool().Draw(t, "id")})
		if (got.Status == courier.Delivered) != slices.Contains([]string{receiptFine, receiptAsk, receiptCase}, got.Receipt) {
			t.Fatalf("%s with the receipt %q", summary(got), got.Receipt)
		}
		if has(got.Concerns, courier.CaseDeliveredElsewhere) != (got.Receipt == receiptCase) {
			t.Fatalf("%s with the receipt %q: a case and no case", summary(got), got.Receipt)
		}
		if (got.Status == courier.Held) != !got.HeldUntil.IsZero() {
			t.Fatalf("%s: held without a last day, or the other way round", summary(got))
		}
	})
}

// I-6 word for word: the status does not depend on the order of arrival, and a scan of an earlier time never moves the
// status back behind one that stands.
func TestI6_ABackDatedScanOfTheWayNeverReopensADelivery(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		way := []courier.Scan{{At: base.Add(8 * time.Hour), Code: "702"}, {At: base.Add(10 * time.Hour), Code: "704", DeliverCode: "10"}}
		late := courier.Scan{
			At:   base.Add(time.Duration(rapid.IntRange(0, 20*3600).Draw(t, "second")) * time.Second),
			Code: rapid.SampledFrom([]string{"203", "305", "389", "954", "713", "306", "356"}).Draw(t, "code"),
		}
		got := Fold(append(way, late), base)
		if got.Status != courier.Delivered || len(got.Concerns) != 0 || !got.Since.Equal(way[1].At) {
			t.Fatalf("%s at %s made %s of a delivered envelope", late.Code, late.At, summary(got))
		}
	})
}

func TestEveryRuleIsExplainedAndShown(t *testing.T) {
	t.Parallel()
	shown := map[Rule]bool{}
	for _, tr := range readTraces(t) {
		scans := told(tr)
		_, judged := DefaultRulebook().Explain(scans, Envelope{OrderedAt: tr.OrderedAt})
		for _, j := range judged {
			shown[j.Rule] = true
		}
	}
	for _, r := range Rules {
		if !shown[r.Rule] || r.Sentence == "" {
			t.Errorf("rule %s: %q, shown by a worked trace %v", r.Rule, r.Sentence, shown[r.Rule])
		}
		delete(shown, r.Rule)
	}
	if len(shown) > 0 {
		t.Errorf("rules without an explanation: %v", shown)
	}
}

func TestExplainTellsOfEveryScan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		scans := anyScans().Draw(t, "scans")
		r, judged := DefaultRulebook().Explain(scans, Envelope{OrderedAt: base})
		if diff := cmp.Diff(summary(Fold(scans, base)), summary(r)); diff != "" {
			t.Fatalf("Explain and Fold differ: %s", diff)
		}
		for _, s := range scans {
			if !slices.ContainsFunc(judged, func(j Judged) bool { return sameScan(&j.Scan, &s) && j.Rule != "" }) {
				t.Fatalf("nothing is told of %s at %s", s.Code, s.At)
			}
		}
	})
}

func TestAYearThatTheCalendarLacksIsNamed(t *testing.T) {
	t.Parallel()
	day := time.Date(2090, 12, 26, 10, 0, 0, 0, beijing)
	got := Fold([]courier.Scan{{At: day, Code: "723"}}, day)
	if got.MissingYear != 2090 || got.HeldUntil.Format(time.DateOnly) != "2090-12-30" {
		t.Errorf("held until %s, missing year %d; want five plain days and the year 2090", got.HeldUntil, got.MissingYear)
	}
	if got := Fold([]courier.Scan{{At: base, Code: "723"}}, base); got.MissingYear != 0 {
		t.Errorf("missing year %d, want none", got.MissingYear)
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

// FuzzFold: whatever scans come, the fold does not panic, gives a status that tracking may give, and gives the same for
// any other order.
func FuzzFold(f *testing.F) {
	f.Add([]byte("203 0;305 10;702 20;704 30/10"))
	f.Add([]byte("704 5/161;743 4;743 4;704 6;748 900/x"))
	f.Add([]byte("705 1/15;389 2;702 3;;; 7"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var scans []courier.Scan
		for i, part := range strings.Split(string(text), ";") {
			code, rest, _ := strings.Cut(part, " ")
			minutes, detail, _ := strings.Cut(rest, "/")
			n, _ := strconv.ParseInt(minutes, 10, 32)
			scans = append(scans, readText(courier.Scan{At: base.Add(time.Duration(n) * 7 * time.Second), Code: code, OrgCode: string("AB"[i%2]),
				DeliverCode: detail, AttemptCode: detail, Desc: vault.Conceal(detail)}))
		}
		if len(scans) > 200 {
			return
		}
		want := Fold(scans, base)
		if want.Status != courier.Ordered && !courier.Ordered.MayBecome(want.Status, "") {
			t.Fatalf("status %q", want.Status)
		}
		slices.Reverse(scans)
		if got := Fold(scans, base); summary(got) != summary(want) {
			t.Fatalf("backwards %s, forwards %s", summary(got), summary(want))
		}
	})
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

// summary writes a result in one line.
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

// Why the last try delivered nothing: a further scan of the status counts, a telling that asks for more care wins.
func TestTheLastAttemptSaysWhy(t *testing.T) {
	t.Parallel()
	at := func(hour int, code, attempt string) courier.Scan {
		return courier.Scan{At: time.Date(2026, 11, 23, hour, 0, 0, 0, beijing), Code: code, AttemptCode: attempt}
	}
	tests := []struct {
		name  string
		scans []courier.Scan
		want  string
	}{
		{"refused", []courier.Scan{at(9, "705", "7")}, "refused"},
		{"absent, then refused", []courier.Scan{at(9, "705", "4"), at(15, "705", "7")}, "refused"},
		{"nobody said", []courier.Scan{at(9, "705", "")}, ""},
		{"unknown reason", []courier.Scan{at(9, "705", "99")}, ""},
		{"on its way again", []courier.Scan{at(9, "705", "7"), at(15, "702", "")}, ""},
	}
	for _, tt := range tests {
		if got := Fold(tt.scans, time.Time{}); got.Attempt != tt.want {
			t.Errorf("%s: %q, want %q (%s)", tt.name, got.Attempt, tt.want, got.Status)
		}
	}
}
