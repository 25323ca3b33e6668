package main

import (
	"bytes"
	"strings"
	"testing"

	"emsd/courier/emssim"
	"emsd/notify/smssim"
)

func TestUsersAreMadeListedAndDisabledFromTheCommandLine(t *testing.T) {
	t.Parallel()
	env := environ(emptyDatabase(t), keyFile(t), startSims(t, emssim.Config{}, smssim.Config{}))
	emsd := func(want int, args ...string) string {
		t.Helper()
		var out, complaints bytes.Buffer
		if code := run(t.Context(), args, env, &out, &complaints); code != want {
			t.Fatalf("emsd %v: exit %d, want %d: %s", args, code, want, complaints.String())
		}
		return out.String() + complaints.String()
	}
	password := strings.TrimSpace(emsd(exitDone, "user", "create", "--name", "guanli", "--full-name", "管理员", "--role", "administrator"))
	if !strings.Contains(password, "user guanli, administrator") || len(strings.Split(password, "-")) < 4 {
		t.Errorf("create prints %q", password)
	}
	emsd(exitFailed, "user", "create", "--name", "guanli", "--full-name", "另一个", "--role", "auditor")
	emsd(exitFailed, "user", "create", "--name", "chuangkou", "--full-name", "窗口", "--role", "counter") // without a station
	emsd(exitUsage, "user", "create", "--name", "x1", "--full-name", "谁", "--role", "king")
	if list := emsd(exitDone, "user", "list"); !strings.Contains(list, "guanli") || !strings.Contains(list, "enabled") {
		t.Errorf("list prints %q", list)
	}
	emsd(exitDone, "user", "disable", "guanli")
	if list := emsd(exitDone, "user", "list"); !strings.Contains(list, "disabled") {
		t.Errorf("list after disable prints %q", list)
	}
	emsd(exitDone, "user", "enable", "guanli")
	if drawn := emsd(exitDone, "user", "password", "guanli"); len(strings.TrimSpace(drawn)) != 19 {
		t.Errorf("password prints %q", drawn)
	}
	emsd(exitFailed, "user", "password", "nobody")
	if said := emsd(exitDone, "verify-audit"); !strings.Contains(said, "the chain holds") {
		t.Errorf("the audit: %s", said)
	}
}
