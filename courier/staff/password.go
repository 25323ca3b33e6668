package staff

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"unicode/utf8"

	"emsd/courier"

	"github.com/alexedwards/argon2id"
)

// params cost about 40 ms of one core and 46 MiB, so that a guess is dear and a sign-in is not.
var params = &argon2id.Params{Memory: 46 * 1024, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hashing bounds how many passwords are hashed at a time, so that a flood of sign-ins takes neither all memory nor all
// cores from the rounds.
var hashing = make(chan struct{}, 2)

func hashed[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var none T
	select {
	case hashing <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	defer func() { <-hashing }()
	return f()
}

func hashPassword(ctx context.Context, password string) (string, error) {
	return hashed(ctx, func() (string, error) { return argon2id.CreateHash(password, params) })
}

// nobody gives a hash that is compared with when there is no such user, so that an answer takes as long. Its password is 256 random
// bits that nobody has seen.
var nobody = sync.OnceValue(func() string {
	h, err := argon2id.CreateHash(rand.Text()+rand.Text(), params)
	if err != nil {
		panic(err) // only if the system has no random numbers
	}
	return h
})

func matches(ctx context.Context, password, hash string) (bool, error) {
	return hashed(ctx, func() (bool, error) { return argon2id.ComparePasswordAndHash(password, hash) })
}

// Passwords are long rather than odd: length is what makes guessing dear, and odd characters end on paper.
const (
	shortestPassword = 10
	longestPassword  = 128
)

func checkPassword(password, name string) courier.Faults {
	fault := func(code, detail string) courier.Faults {
		return courier.Faults{{Field: "password", Code: code, Detail: detail}}
	}
	low := strings.ToLower(password)
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return fault("format", "密码含有无法识别的字符，请重新填写")
	case n < shortestPassword:
		return fault("length", "密码至少10个字符；几个不相干的词连在一起，既好记又难猜")
	case n > longestPassword:
		return fault("length", "密码最多128个字符")
	case name != "" && strings.Contains(low, name):
		return fault("guessable", "密码不能包含登录名")
	case fewCharacters(low) || commonPassword(low):
		return fault("guessable", "这个密码太容易猜到，请换一个")
	}
	return nil
}

// fewCharacters finds 1111111111 and abababab…
func fewCharacters(s string) bool {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen) < 5
}

// commonPassword finds what is tried first.
func commonPassword(low string) bool {
	for _, part := range []string{"12345678", "87654321", "password", "qwertyui", "1q2w3e4r", "abcdefgh", "iloveyou", "88888888", "juzhuzheng"} {
		if rest := strings.ReplaceAll(low, part, ""); len(rest) != len(low) && utf8.RuneCountInString(rest) < 5 {
			return true
		}
	}
	return false
}

// drawPassword makes a password of 80 bits, in groups that can be read aloud.
func drawPassword() string {
	text := strings.ToLower(rand.Text())[:16]
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}
