package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"pgregory.net/rapid"
)

// TestSignaturesAreThoseOfTheOfficialLibrary compares whole headers, so that a subscriber with any library is served.
func TestSignaturesAreThoseOfTheOfficialLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret, old := newSecret(), newSecret()
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		id := messageID(uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")))
		at := time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "at"), 0)
		var want []string
		for _, s := range []string{secret, old} {
			hook, err := standardwebhooks.NewWebhook(s)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := hook.Sign(id, at, body)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, signature)
		}
		k := keys{secret: secret, oldSecret: old, oldUntil: at.Add(time.Second)}
		got := k.signer(at).headers(id, at, body)
		if got[HeaderSignature] != strings.Join(want, " ") || got[HeaderID] != id {
			t.Fatalf("%v, want %s", got, want)
		}
		if got := k.signer(at.Add(time.Second)).headers(id, at, body); got[HeaderSignature] != want[0] {
			t.Fatalf("after the overlap: %s, want %s", got[HeaderSignature], want[0])
		}
	})
}

func TestMessageIDs(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	if got, ok := ParseMessageID(messageID(id)); !ok || got != id {
		t.Errorf("%s is read as %s, %v", messageID(id), got, ok)
	}
	for _, text := range []string{"", "msg_", id.String(), "msg_{" + id.String() + "}", "msg_" + strings.ReplaceAll(id.String(), "-", ""), "MSG_" + id.String()} {
		if _, ok := ParseMessageID(text); ok {
			t.Errorf("%q counts as a message id", text)
		}
	}
}
