package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"emsd/courier/emssim"
)

// A number is stopped and let go by commands that never show it.
func TestDoNotSend(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{}})
	env := environ(string(d.app.cfg.DatabaseURL), d.app.cfg.MasterKeyFile, d.sims)
	number := filepath.Join(t.TempDir(), "number")
	write := func(text string) {
		if err := os.WriteFile(number, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := func(want int, says string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"do-not-send"}, args...), env, &out, &out)
		if code != want || !strings.Contains(out.String(), says) || strings.Contains(out.String(), "5678") {
			t.Errorf("emsd do-not-send %q: code %d, want %d and %q:\n%s", args, code, want, says, out.String())
		}
	}
	write("+86 139 1234 5678\n")
	command(exitDone, "no number is stopped", "list")
	command(exitDone, "not stopped", "check", "--phone-file", number)
	command(exitDone, "gets no more messages", "add", "--source", "reply", "--why", "回复TD", "--phone-file", number)
	write("13912345678")
	command(exitDone, "was stopped already", "add", "--why", "再次", "--phone-file", number)
	command(exitDone, "stopped\n", "check", "--phone-file", number)
	command(exitDone, "回复TD", "list")
	command(exitDone, "gets messages again", "lift", "--why", "本人要求", "--phone-file", number)
	command(exitDone, "was not stopped", "lift", "--why", "本人要求", "--phone-file", number)
	command(exitDone, "lifted", "list")
	write("010-12345678")
	command(exitFailed, "11 digits", "add", "--why", "座机", "--phone-file", number)
	command(exitUsage, "--why", "add", "--phone-file", number)
	command(exitUsage, "--source", "add", "--why", "x", "--source", "mood", "--phone-file", number)
}
