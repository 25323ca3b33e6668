package resident

import (
	"strings"
	"testing"
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestATokenOpensItsDeliveryOnly(t *testing.T) {
	tokens := NewTokens(vault.Fixed([]byte("tokens")))
	rapid.Check(t, func(t *rapid.T) {
		id := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		token := tokens.Of(id)
		if got, ok := tokens.delivery(token); !ok || got != id {
			t.Fatalf("delivery(%s) = %s, %t", token, got, ok)
		}
		i := rapid.IntRange(0, len(token)-1).Draw(t, "i")
		c := rapid.StringMatching(`[A-Za-z0-9_-]`).Draw(t, "c")
		if forged := token[:i] + c + token[i+1:]; forged != token {
			if got, ok := tokens.delivery(forged); ok {
				t.Fatalf("%s is %s spelt otherwise and opens %s", forged, token, got)
			}
		}
		for _, breaker := range []string{"\n", "\r", "="} {
			if spelt := token[:i] + breaker + token[i:]; spelt != token {
				if _, ok := tokens.delivery(spelt); ok {
					t.Fatalf("%q opens a delivery", spelt)
				}
			}
		}
	})
	if _, ok := NewTokens(vault.Fixed([]byte("another key"))).delivery(tokens.Of(uuid.New())); ok {
		t.Error("a token is good under another key")
	}
	if len(tokens.Of(uuid.New())) > 64 {
		t.Error("a token is too long for a link")
	}
}

func TestACookieIsGoodForItsTokenAndTime(t *testing.T) {
	tokens := NewTokens(vault.Fixed([]byte("tokens")))
	now := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	a, b := tokens.Of(uuid.New()), tokens.Of(uuid.New())
	cookie := tokens.cookie(a, now.Add(openFor))
	for _, tt := range []struct {
		name, cookie, token string
		at                  time.Time
		want                bool
	}{
		{"its token", cookie, a, now, true},
		{"the last second", cookie, a, now.Add(openFor - time.Second), true},
		{"too late", cookie, a, now.Add(openFor), false},
		{"another token", cookie, b, now, false},
		{"a longer time written into it", tokens.cookie(a, now.Add(24*time.Hour))[:11] + cookie[11:], a, now.Add(openFor), false},
		{"nothing", "", a, now, false},
		{"nonsense", strings.Repeat("A", 32), a, now, false},
	} {
		if got := tokens.opens(tt.cookie, tt.token, tt.at); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func FuzzTokens(f *testing.F) {
	tokens := NewTokens(vault.Fixed([]byte("tokens")))
	f.Add(tokens.Of(uuid.Nil), "")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, token, cookie string) {
		if id, ok := tokens.delivery(token); ok && tokens.Of(id) != token {
			t.Errorf("%q opens %s", token, id)
		}
		tokens.opens(cookie, token, time.Unix(0, 0))
	})
}
