package tracking

import (
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier"

	"github.com/google/go-cmp/cmp"
)

// closings gives what a poll closed, as "kind: why".
func closings(n news) []string {
	var out []string
	for _, c := range n.closed {
		out = append(out, string(c.Kind)+": "+c.Why)
	}
	return out
}

func TestCasesSayWhatClosedThem(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.poll(hour(9), at(8, "702"), at(9, "705/2"))
	n := f.poll(hour(12), at(11, "747"))
	want := []string{"address: 物流状态由“投递未成功”变为“待领取”（邮政代码 747，12月26日11:00）。", "stalled: 物流状态由“投递未成功”变为“待领取”（邮政代码 747，12月26日11:00）。"}
	if diff := cmp.Diff(want, closings(n)); diff != "" {
		t.Errorf("put into a locker: want -, got +\n%s", diff)
	}
	f.poll(hour(14), at(13, "704/161"))
	n = f.poll(hour(15), at(14, "743"))
	if !slices.Contains(closings(n), "delivered_elsewhere: 邮政撤销了原有记录（邮政代码 743，12月26日14:00），物流状态由“已妥投”改回“待领取”。") {
		t.Errorf("delivery withdrawn: %v", closings(n))
	}
	n = f.poll(hour(16), at(15, "389"), at(15, "Z99"))
	if len(n.closed) == 0 {
		t.Error("a stalled case survives news")
	}
	for _, x := range f.log {
		for _, c := range x.closed {
			if c.By != "tracking" || c.Outcome != "moved_on" || !strings.HasSuffix(c.Why, "。") {
				t.Errorf("closing %+v", c)
			}
		}
	}
}

func TestAnyNewScanEndsAStall(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.poll(hour(9), at(8, "305"))
	n := f.poll(hour(12), at(8, "305"), at(11, "389"))
	if diff := cmp.Diff([]string{"stalled: 邮件有新的物流记录（邮政代码 389，12月26日11:00）。"}, closings(n)); n.move != nil || diff != "" {
		t.Errorf("a scan that moves nothing: want -, got +\n%s", diff)
	}
	for _, s := range []courier.Scan{at(-24*40, "389"), at(24*40, "389")} {
		if n := f.poll(hour(13), s); len(n.closed) != 0 {
			t.Errorf("a scan of %s, which does not count, closed %v", s.At, closings(n))
		}
	}
	if n := f.poll(hour(14)); len(n.closed) != 0 {
		t.Errorf("no scan at all closed %v", closings(n))
	}
}

func TestWhatEMSFindsOddStaysACaseUntilItIsSettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		odd, passes, settles string
	}{
		{"651", "", "389"}, {"751", "", "749"}, {"751", "", "723"}, {"993", "389", "013"}, {"993", "702", "704/10"}, {"993", "389", "708"},
	} {
		f := follow(base)
		f.poll(hour(9), at(8, "305"))
		if n := f.poll(hour(10), at(9, tt.odd)); len(n.open) != 1 || n.open[0].Kind != courier.CaseStalled || n.open[0].Detail != "邮政代码 "+tt.odd {
			t.Errorf("%s opened %+v", tt.odd, n.open)
		}
		if tt.passes != "" {
			if n := f.poll(hour(11), at(10, tt.passes)); len(n.closed) != 0 || !slices.Contains(f.openKinds(), courier.CaseStalled) {
				t.Errorf("%s after %s closed %v", tt.passes, tt.odd, closings(n))
			}
		}
		f.poll(hour(12), at(11, tt.settles))
		if slices.Contains(f.openKinds(), courier.CaseStalled) {
			t.Errorf("%s after %s leaves the case open", tt.settles, tt.odd)
		}
	}
}

func TestACaseThatAClerkClosedComesBackOnlyForNews(t *testing.T) {
	t.Parallel()
	f := follow(base)
	f.poll(hour(9), at(8, "702"), at(9, "704/161"))
	for i, s := range []courier.Scan{at(10, "389"), at(7, "713"), at(11, "203")} {
		if n := f.poll(hour(12+i), s); len(n.open) != 0 {
			t.Errorf("%s opened %+v again", s.Code, n.open)
		}
	}
}

func TestCasesAreDueInWorkingHours(t *testing.T) {
	t.Parallel()
	friday := time.Date(2024, 12, 27, 16, 0, 0, 0, beijing) // the new year's holiday is on Wednesday
	tests := []struct {
		scan string
		want time.Time
	}{
		{"704/161", time.Date(2024, 12, 30, 12, 0, 0, 0, beijing)}, // 4 hours: one on Friday, three on Monday
		{"704/60", time.Date(2024, 12, 30, 16, 0, 0, 0, beijing)},  // 8 hours by the policy
		{"705/2", time.Date(2024, 12, 30, 10, 0, 0, 0, beijing)},   // 2 hours
		{"723", time.Date(2025, 1, 3, 9, 0, 0, 0, beijing)},        // held until the 3rd: the morning of that day
		{"747", time.Date(2024, 12, 27, 17, 0, 0, 0, beijing)},     // held until Sunday: today yet
	}
	for _, tt := range tests {
		f := follow(base)
		s := at(0, tt.scan)
		s.At = friday.Add(-time.Minute)
		n := f.poll(friday, s)
		if len(n.open) != 1 || !n.open[0].DueAt.Equal(tt.want) {
			t.Errorf("%s: %+v, want due %s", tt.scan, n.open, tt.want)
		}
	}
	f := follow(time.Date(2090, 1, 2, 0, 0, 0, 0, beijing))
	s := at(0, "704/161")
	s.At = f.w.orderedAt.Add(10 * time.Hour)
	if n := f.poll(s.At.Add(time.Minute), s); n.missingYear != 2090 || len(n.open) != 1 || !n.open[0].DueAt.Equal(s.At.Add(time.Minute+4*time.Hour)) {
		t.Errorf("a year that the calendar lacks: missing %d, %+v", n.missingYear, n.open)
	}
}
