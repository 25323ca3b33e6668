package notify_test

import (
	"strings"
	"testing"
	"time"

	"emsd/notify"
	"emsd/notify/aliyun"
	"emsd/notify/mas"
	"emsd/notify/tencent"
)

// A replyForm is how a gateway pushes what residents write, with one reply of 13900000000: TD, at noon in Beijing.
type replyForm struct {
	name   string
	parse  func([]byte) ([]notify.Reply, error)
	sample string
}

var (
	aliyunReplies = replyForm{"aliyun", aliyun.ParseReplies,
		`[{"phone_number":"13900000000","content":"TD","send_time":"2026-05-06 12:00:00","sequence_id":7,"dest_code":"1","sign_name":"x"}]`}
	masReplies     = replyForm{"mas", mas.ParseReplies, `{"smsContent":"TD","mobile":"13900000000","sendTime":"2026-05-06 12:00:00","addSerial":""}`}
	tencentReplies = replyForm{"tencent", tencent.ParseReplies, `{"extend":"1","mobile":"13900000000","nationcode":"86","sign":"x","text":"TD","time":1778040000}`}
)

func TestAReplyIsRead(t *testing.T) {
	t.Parallel()
	for _, form := range []replyForm{aliyunReplies, masReplies, tencentReplies} {
		t.Run(form.name, func(t *testing.T) {
			t.Parallel()
			got, err := form.parse([]byte(form.sample))
			if err != nil || len(got) != 1 {
				t.Fatalf("%d replies, %v", len(got), err)
			}
			if r := got[0]; r.Phone.Reveal() != "13900000000" || r.Text.Reveal() != "TD" || !r.SentAt.Equal(time.Date(2026, 5, 6, 4, 0, 0, 0, time.UTC)) {
				t.Errorf("read %q %q %s", r.Phone.Reveal(), r.Text.Reveal(), r.SentAt)
			}
			for _, bad := range []string{"", "null1", "<html>", "[", strings.Repeat("[", 100000)} {
				if _, err := form.parse([]byte(bad)); err == nil {
					t.Errorf("%.20q is taken", bad)
				}
			}
			if got, err := form.parse([]byte(strings.ReplaceAll(form.sample, "13900000000", "01012345678"))); err != nil || len(got) != 0 {
				t.Errorf("a landline's reply: %d, %v", len(got), err)
			}
			for _, odd := range [][2]string{{"13900000000", "+8613900000000"}, {"13900000000", "8613900000000"}, {`"TD"`, `"TD","more":{"a":[1]}`},
				{"2026-05-06 12:00:00", "20260506120000"}, {`"2026-05-06 12:00:00"`, "[]"}, {"1778040000", `"1778040000"`}, {"1778040000", "{}"}, {`:7,`, `:"7",`}} {
				got, err := form.parse([]byte(strings.Replace(form.sample, odd[0], odd[1], 1)))
				if err != nil || len(got) != 1 || got[0].Phone.Reveal() != "13900000000" || got[0].Text.Reveal() != "TD" {
					t.Errorf("with %s a refusal is lost: %d, %v", odd[1], len(got), err)
				}
			}
		})
	}
}

// TestAPulledReplyIsThePushedOne: under the names of either version of Tencent's interface, and with 云MAS's number in a list.
func TestAPulledReplyIsThePushedOne(t *testing.T) {
	t.Parallel()
	for _, form := range []replyForm{
		{"tencent 2021", tencent.ParseReplies, `[{"CountryCode":"86","ReplyContent":"TD","SubscriberNumber":"13900000000","ExtendCode":"11","ReplyTime":1778040000,
			"PhoneNumber":"+8613900000000","SignName":"x"}]`},
		{"tencent 2019", tencent.ParseReplies, `[{"NationCode":"86","ReplyContent":"TD","ExtendCode":"11","ReplyTime":"2026-05-06 12:00:00","ReplyUnixTime":1778040000,
			"PhoneNumber":"+8613900000000","Sign":"x"}]`},
		{"mas", mas.ParseReplies, `[{"smsContent":"TD","mobile":["13900000000"],"sendTime":"2026-05-06 12:00:00","addSerial":""}]`},
	} {
		got, err := form.parse([]byte(form.sample))
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: %d replies, %v", form.name, len(got), err)
		}
		if r := got[0]; r.Phone.Reveal() != "13900000000" || r.Text.Reveal() != "TD" || r.Sequence != "" || !r.SentAt.Equal(time.Date(2026, 5, 6, 4, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: read %q %q %s", form.name, r.Phone.Reveal(), r.Text.Reveal(), r.SentAt)
		}
	}
}

func FuzzAliyunReplies(f *testing.F)  { aliyunReplies.fuzz(f) }
func FuzzMASReplies(f *testing.F)     { masReplies.fuzz(f) }
func FuzzTencentReplies(f *testing.F) { tencentReplies.fuzz(f) }

func (form replyForm) fuzz(f *testing.F) {
	f.Add([]byte(form.sample))
	f.Add([]byte("[[{}]]"))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := form.parse(body)
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
