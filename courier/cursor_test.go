package courier

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// FuzzCursor: a cursor that is taken is one that we give, whoever sends it.
func FuzzCursor(f *testing.F) {
	mark := pageMark{true, time.Date(2026, 11, 23, 4, 0, 0, 1000, time.UTC), uuid.MustParse("01930000-0000-7000-8000-000000000001")}
	for _, kind := range []string{"made", "changed"} {
		f.Add(mark.cursor(kind), kind)
	}
	f.Add("", "made")
	f.Add("bWFkZSAx", "made")
	f.Fuzz(func(t *testing.T, text, kind string) {
		m, err := readCursor(text, kind)
		if err != nil || !m.set {
			return
		}
		again, err := readCursor(m.cursor(kind), kind)
		if err != nil || again.id != m.id || !again.at.Equal(m.at) {
			t.Errorf("%q is %v, which is given away as %v, %v", text, m, again, err)
		}
	})
}
