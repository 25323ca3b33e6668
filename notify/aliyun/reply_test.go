package aliyun

import (
	"strings"
	"testing"
	"time"
)

const aReply = `[{"phone_number":"13900000000","content":"TD","send_time":"2026-05-06 12:00:00","sequence_id":7,"dest_code":"1","sign_name":"x"}]`

func TestAReplyIsRead(t *testing.T) {
	t.Parallel()
	got, err := ParseReplies([]byte(aReply))
	if err != nil || len(got) != 1 {
		t.Fatalf("%d replies, %v", len(got), err)
	}
	if r := got[0]; r.Phone.Reveal() != "13900000000" || r.Text.Reveal() != "TD" || !r.SentAt.Equal(time.Date(2026, 5, 6, 4, 0, 0, 0, time.UTC)) {
		t.Errorf("read %q %q %s", r.Phone.Reveal(), r.Text.Reveal(), r.SentAt)
	}
	for _, bad := range []string{"", "null1", "<html>", "[", strings.Repeat("[", 100000)} {
		if _, err := ParseReplies([]byte(bad)); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
	if got, err := ParseReplies([]byte(strings.ReplaceAll(aReply, "13900000000", "01012345678"))); err != nil || len(got) != 0 {
		t.Errorf("a landline's reply: %d, %v", len(got), err)
	}
}

func FuzzReplies(f *testing.F) {
	f.Add([]byte(aReply))
	f.Add([]byte("[[{}]]"))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseReplies(body)
		if err != nil && strings.Contains(err.Error(), "139") {
			t.Errorf("the error quotes the body: %v", err)
		}
		for _, r := range got {
			if len(r.Phone.Reveal()) != 11 {
				t.Errorf("a number of %d digits", len(r.Phone.Reveal()))
			}
		}
	})
}
