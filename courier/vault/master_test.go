package vault_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"emsd/courier/vault"
)

func TestTheMasterKeyFileIsReadOrTheErrorSaysWhy(t *testing.T) {
	t.Parallel()
	good, err := vault.NewMasterKey()
	if err != nil {
		t.Fatal(err)
	}
	short := base64.StdEncoding.EncodeToString(make([]byte, 16))
	tests := []struct {
		name, content string
		mode          os.FileMode
		fault         string
	}{
		{"good", good, 0o600, ""},
		{"newline at the end", good + "\n", 0o400, ""},
		{"CRLF", good + "\r\n", 0o600, ""},
		{"world readable", good, 0o644, "mode 0644"},
		{"world writable", good, 0o602, "mode 0602"},
		{"group writable", good, 0o620, "mode 0620"},
		{"empty", "", 0o600, "is empty"},
		{"short", short, 0o600, "holds 16 bytes, want 32"},
		{"long", base64.StdEncoding.EncodeToString(make([]byte, 33)), 0o600, "holds 33 bytes"},
		{"not base64", "hunter2 hunter2!", 0o600, "not base64"},
		{"hex", strings.Repeat("0f", 32), 0o600, "holds 48 bytes"},
		{"two keys", good + "\n" + good, 0o600, "base64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "master")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			m, err := vault.ReadMasterKey(path)
			if tt.fault == "" {
				if err != nil || m.IsZero() {
					t.Errorf("ReadMasterKey = %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), path) {
				t.Fatalf("error = %v, want one with %q and the path", err, tt.fault)
			}
			if tt.content != "" && strings.Contains(err.Error(), strings.TrimSpace(tt.content)) {
				t.Errorf("the error shows the content: %v", err)
			}
			if !m.IsZero() {
				t.Error("a key beside the error")
			}
		})
	}
}

func TestNoMasterKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	if _, err := vault.ReadMasterKey(path); err == nil || !strings.Contains(err.Error(), "no such file") || strings.Count(err.Error(), path) != 1 {
		t.Errorf("missing file: %v", err)
	}
	if _, err := vault.ReadMasterKey(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "is not a file") {
		t.Errorf("directory: %v", err)
	}
}

func TestWhoMayReadAMasterKeyFile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode    fs.FileMode
		owner   int
		tooOpen bool
	}{
		{0o600, 1000, false}, {0o400, 1000, false}, {0o640, 1000, true}, {0o660, 1000, true}, {0o604, 1000, true},
		{0o600, 0, false}, {0o440, 0, false}, {0o640, 0, false}, {0o660, 0, true}, {0o644, 0, true}, {0o444, 0, true},
		{0o640, -1, true},
	}
	for _, tt := range tests {
		if got := vault.TooOpen(tt.mode, tt.owner); got != tt.tooOpen {
			t.Errorf("mode %04o, owner %d: too open = %v, want %v", tt.mode, tt.owner, got, tt.tooOpen)
		}
	}
}

func TestI9_AMasterKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdefGHIJKLMNOPQRSTUV")
	m, err := vault.ParseMasterKey(base64.StdEncoding.EncodeToString(secret))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	l := slog.New(slog.NewJSONHandler(&b, nil))
	type config struct {
		Master vault.MasterKey
		master vault.MasterKey
	}
	c := config{m, m}
	l.Info("start", "master", m, "config", c)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out := b.String() + string(j)
	for _, v := range []any{m, &m, c, &c, []vault.MasterKey{m}} {
		out += fmt.Sprintf("%v %+v %#v %s %x %X %q %d\n", v, v, v, v, v, v, v, v)
	}
	for _, trace := range []string{"0123456789", "30313233", "48 49 50", "0x30, 0x31", "MDEyMzQ1"} {
		if strings.Contains(out, trace) {
			t.Errorf("the key shows as %q in %s", trace, out)
		}
	}
}

func TestAWrappedKeyOpensUnderItsMasterOnly(t *testing.T) {
	t.Parallel()
	m, other := newMaster(t), newMaster(t)
	key := []byte("0123456789abcdef")
	wrapped := vault.Wrap(m, 3, "seal", key)
	if got, err := vault.Unwrap(m, 3, "seal", wrapped); err != nil || string(got) != string(key) {
		t.Fatalf("unwrapped %q, %v", got, err)
	}
	if _, err := vault.Unwrap(other, 3, "seal", wrapped); !errors.Is(err, vault.ErrOtherMaster) {
		t.Errorf("another master: %v, want ErrOtherMaster", err)
	}
	if _, err := vault.Unwrap(m, 4, "seal", wrapped); err == nil {
		t.Error("a key opens as another")
	}
	if _, err := vault.Unwrap(m, 3, "lookup", wrapped); err == nil {
		t.Error("a key opens for another purpose")
	}
	for bit := range 8 * len(wrapped) {
		flipped := append([]byte(nil), wrapped...)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := vault.Unwrap(m, 3, "seal", flipped); err == nil {
			t.Errorf("bit %d flipped, and it opens", bit)
		}
	}
	for n := range wrapped {
		if _, err := vault.Unwrap(m, 3, "seal", wrapped[:n]); err == nil {
			t.Errorf("cut to %d bytes, and it opens", n)
		}
	}
}
