package console

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"emsd/courier"
)

// sources gives the text of what is not a test in a package and below it.
func sources(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join("..", "..", "..", "..", root), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestEverythingThatIsRecordedHasAWord: events and deeds are read from the sources that record them, so that none stands on a
// page under its technical name. A name that ends in a dot is completed when it is recorded.
func TestEverythingThatIsRecordedHasAWord(t *testing.T) {
	core := sources(t, "courier")
	events := regexp.MustCompile(`EventType = "([a-z_.]+)"`).FindAllStringSubmatch(core, -1)
	for _, m := range events {
		if e := courier.EventType(m[1]); eventWords[e] == "" && !slices.Contains(shownElsewhere, e) {
			t.Errorf("the timeline has no word for the event %s", e)
		}
	}
	deed := regexp.MustCompile(`(?:\bAction: |\bs\.entry\((?:"unknown"|[^",\n]*), |\.(?:Record|RecordMany|seen|seenMany|change|move|moveCase|newPassword|failed|audit)\([^"\n]*|\baction(?:, err)? :?= )"([a-z_]+[a-z_.]*)"`)
	deeds := map[string]bool{}
	for _, m := range deed.FindAllStringSubmatch(core+sources(t, "notify")+sources(t, "tracking")+sources(t, "cmd/emsd"), -1) {
		deeds[m[1]] = true
	}
	if len(events) < 20 || len(deeds) < 50 {
		t.Fatalf("%d events and %d deeds in the sources: this test proves nothing", len(events), len(deeds))
	}
	for _, name := range slices.Sorted(maps.Keys(deeds)) {
		found := auditWords[name] != ""
		if strings.HasSuffix(name, ".") {
			for known := range auditWords {
				found = found || strings.HasPrefix(known, name)
			}
		}
		if !found {
			t.Errorf("the audit has no word for %s", name)
		}
	}
}
