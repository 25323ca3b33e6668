package main

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"

	"github.com/google/go-cmp/cmp"
)

// A code that nobody knows: counted, decided by a clerk, applied, and what EMS said about it can be read with a reason.
func TestAnUnknownCodeIsDecidedByAClerk(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(71)
	d.scanned(id, "out_for_delivery", "203", "702")
	no := d.view(id)["waybill_no"].(string)
	if err := d.ems.AddScan(no, emssim.Scan{OpCode: "Z9", OpName: "新增环节"}); err != nil {
		t.Fatal(err)
	}
	codes := func() []any {
		list, _ := d.call("read", "GET", "/v1/codes/unknown", nil).in(t)["codes"].([]any)
		return list
	}
	until(t, 15*time.Second, "in quarantine", func() bool { return len(codes()) == 1 })
	if c := codes()[0].(map[string]any); c["code"] != "Z9" || c["scans"] != 1.0 || c["name"] != "新增环节" || c["example_delivery_id"] != id {
		t.Errorf("unknown code %v", c)
	}
	if c := caseOf(d.view(id), "unknown_code"); c["closed_at"] != nil || c["kind"] == nil {
		t.Errorf("case %v, want an open one", c)
	}

	wrong := d.call("clerk", "POST", "/v1/codes/decisions", map[string]any{"code": "Z9", "meaning": "fly", "reason": "x"})
	if wrong.status != http.StatusUnprocessableEntity || !strings.Contains(string(wrong.body), "/meaning") {
		t.Errorf("a meaning that is none: %s", wrong)
	}
	if r := d.call("read", "POST", "/v1/codes/decisions", map[string]any{"code": "Z9", "meaning": "held", "reason": "x"}); r.status != http.StatusForbidden {
		t.Errorf("a reader decides: %s", r)
	}
	decision := map[string]any{"code": "Z9", "meaning": "attempt_failed", "sentence": "本次投递没有成功。", "reason": "邮政答复", "dry_run": true}
	dry := d.must(http.StatusOK, "POST", "/v1/codes/decisions", decision)
	if dry["deliveries_changed"] != 1.0 || d.status(id) != "out_for_delivery" || len(codes()) != 1 {
		t.Errorf("a dry run answers %v and leaves %s with %d unknown codes", dry, d.status(id), len(codes()))
	}
	delete(decision, "dry_run")
	made := d.must(http.StatusAccepted, "POST", "/v1/codes/decisions", decision, "Idempotency-Key", "once")
	again := d.must(http.StatusAccepted, "POST", "/v1/codes/decisions", decision, "Idempotency-Key", "once")
	if diff := cmp.Diff(made, again); diff != "" || made["decided_by"] != "test clerk" {
		t.Errorf("the decision answers %v; again\n%s", made, diff)
	}
	applied := func() map[string]any {
		list, _ := d.call("read", "GET", "/v1/codes/decisions", nil).in(t)["decisions"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["id"] != made["id"] {
			t.Fatalf("decisions %v, want the one that was made, %v", list, made)
		}
		return list[0].(map[string]any)["applied"].(map[string]any)
	}
	until(t, 15*time.Second, "applied", func() bool { return applied()["done_at"] != nil })
	if applied()["deliveries_changed"] != 1.0 || d.status(id) != "attempt_failed" || len(codes()) != 0 {
		t.Errorf("the decision is applied as %v, and leaves %s with %d unknown codes", applied(), d.status(id), len(codes()))
	}
	if c := caseOf(d.view(id), "unknown_code"); len(c) != 0 && c["closed_at"] == nil {
		t.Errorf("the case is still open: %v", c)
	}
	scans, _ := d.view(id)["scans"].([]any)
	if !slices.ContainsFunc(scans, func(s any) bool {
		return s.(map[string]any)["text"] == "本次投递没有成功。" || s.(map[string]any)["sentence"] == "本次投递没有成功。"
	}) {
		t.Errorf("the timeline does not tell the decided sentence: %v", scans)
	}

	if r := d.call("admin", "GET", "/v1/deliveries/"+id+"/answers", nil); r.status != http.StatusBadRequest {
		t.Errorf("answers without a reason: %s", r)
	}
	if r := d.call("clerk", "GET", "/v1/deliveries/"+id+"/answers?reason=x", nil); r.status != http.StatusForbidden {
		t.Errorf("answers for a clerk: %d", r.status)
	}
	r := d.call("admin", "GET", "/v1/deliveries/"+id+"/answers?reason=dispute", nil)
	answers, _ := r.in(t)["answers"].([]any)
	if r.status != http.StatusOK || len(answers) < 2 || !strings.Contains(string(r.body), "Z9") || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answers: %d of them, %d", len(answers), r.status)
	}
	var read int
	if err := d.app.db.Get(&read, `SELECT count(*) FROM audit WHERE action = 'answers.read' AND object = $1`, id); err != nil || read != 1 {
		t.Errorf("%d readings are audited, %v", read, err)
	}
}

func TestRefoldTellsBeforeItChanges(t *testing.T) {
	t.Parallel()
	d := start(t, setup{ems: emssim.Config{PushTo: "here"}})
	id := d.ordered(72)
	d.scanned(id, "delivered", "203", "702", "704/20")
	if c := caseOf(d.view(id), "delivered_elsewhere"); len(c) == 0 {
		t.Fatal("an envelope in another's hands is no case")
	}
	// The policy is changed: another person's hands are fine from now on, and were.
	if _, err := d.app.db.Exec(`UPDATE recipient_policies SET action = 'fine' WHERE class = 'agent'`); err != nil {
		t.Fatal(err)
	}
	env := environ(string(d.app.cfg.DatabaseURL), d.app.cfg.MasterKeyFile, d.sims)
	command := func(args string) string {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), env, &out, &out); code != 0 {
			t.Fatalf("emsd %s: code %d\n%s", args, code, out.String())
		}
		return out.String()
	}
	if got := command("refold --dry-run"); !strings.Contains(got, "case closed: delivered_elsewhere") || !strings.Contains(got, "1 would change") || !strings.Contains(got, id) {
		t.Errorf("a dry run tells:\n%s", got)
	}
	open := func() bool {
		var n int
		if err := d.app.db.Get(&n, `SELECT count(*) FROM cases WHERE delivery_id = $1 AND kind = 'delivered_elsewhere' AND closed_at IS NULL`, id); err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
	if !open() {
		t.Fatal("a dry run has closed the case")
	}
	if got := command("refold --since 2020-01-01"); !strings.Contains(got, "1 changed") || open() {
		t.Errorf("refold tells:\n%s", got)
	}
	if got := command("refold"); !strings.Contains(got, " 0 changed") {
		t.Errorf("a second refold tells:\n%s", got)
	}
	for _, args := range []string{"refold --since soon", "code decide Z9 held --reason x --from soon"} {
		var out bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), env, &out, &out); code != exitUsage {
			t.Errorf("emsd %s: code %d, want %d", args, code, exitUsage)
		}
	}
	if got := command("code list"); !strings.Contains(got, "no unknown code") {
		t.Errorf("code list tells:\n%s", got)
	}
}
