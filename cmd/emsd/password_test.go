package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"emsd/courier/emssim"
)

// The password that EMS's courier asks for reaches the resident by SMS, and nobody else by any way.
func TestTheDeliveryPasswordReachesOnlyEMSAndTheResident(t *testing.T) {
	t.Parallel()
	templates := strings.TrimSuffix(demoTemplates, "}") + `,"handed_over_password":"SMS_900000012","out_for_delivery_password":"SMS_900000013"}`
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{"EMSD_EMS_DELIVERY_PASSWORD=true", "EMSD_EMS_RECIPIENT_ID=true",
		"EMSD_QUIET_HOURS=off", "EMSD_SMS_ALIYUN_TEMPLATES=" + templates}})
	id := d.ordered(96)
	no, _ := d.view(id)["waybill_no"].(string)
	password, idNo := d.ems.Told(no)
	if len(password) != 6 || idNo != idNumber(96) {
		t.Fatalf("EMS was told a password of %d digits and the ID %q", len(password), idNo)
	}
	d.scanned(id, "out_for_delivery", "203", "702")
	var codes []string
	until(t, 20*time.Second, "told at the door", func() bool {
		codes = nil
		for _, m := range d.sms.Messages() {
			if m.Template == "SMS_900000012" || m.Template == "SMS_900000013" {
				codes = append(codes, m.Params["code"])
			}
		}
		return len(codes) > 0
	})
	for _, c := range codes {
		if c != password {
			t.Errorf("the resident was told %q, EMS %q", c, password)
		}
	}
	for _, m := range d.sms.Messages() {
		if m.Template == "SMS_900000002" || m.Template == "SMS_900000003" {
			t.Errorf("a text without the password was sent: %s", m.Template)
		}
	}

	// A corrected address is another order with another password.
	other := d.ordered(97)
	was, _ := d.ems.Told(d.view(other)["waybill_no"].(string))
	d.must(http.StatusOK, "POST", "/v1/deliveries/"+other+"/address", newAddress("海淀区"))
	until(t, 40*time.Second, "ordered anew", func() bool {
		v := d.view(other)
		return v["status"] == "ordered" && v["recipient"].(map[string]any)["county"] == "海淀区"
	})
	is, _ := d.ems.Told(d.view(other)["waybill_no"].(string))
	if len(is) != 6 || is == was {
		t.Errorf("the new order has a password of %d digits, the same as before: %t", len(is), is == was)
	}

	for _, secret := range []string{password, was, is, idNo} {
		ledger, err := json.Marshal(d.ems.Ledger().Orders)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"the API": d.call("clerk", "GET", "/v1/deliveries/"+id, nil).String(), "the feed": d.call("read", "GET", "/v1/events?after=0&limit=1000", nil).String(),
			"the log": d.log.String(), "EMS's ledger": string(ledger),
		} {
			if holds(text, secret) {
				t.Errorf("%s tells the password or the ID number", name)
			}
		}
		var n int
		err = d.app.db.Get(&n, `SELECT (SELECT count(*) FROM messages m WHERE m.vars::text ~ $1) + (SELECT count(*) FROM events e WHERE e.data::text ~ $1)
			+ (SELECT count(*) FROM message_attempts a WHERE a::text ~ $1) + (SELECT count(*) FROM order_attempts o WHERE o.detail ~ $1) + (SELECT count(*) FROM audit u WHERE u.detail::text ~ $1)`, `\y`+secret+`\y`)
		if err != nil || n != 0 {
			t.Errorf("%d rows tell the password or the ID number (%v)", n, err)
		}
	}
}

// Where no gateway has a text for the password, the plain text is not sent in its place: the message waits, and a clerk calls.
func TestAPasswordThatNoGatewayCanTellIsACase(t *testing.T) {
	t.Parallel()
	d := start(t, setup{quick: true, ems: emssim.Config{PushTo: "here"}, env: []string{"EMSD_EMS_DELIVERY_PASSWORD=true", "EMSD_QUIET_HOURS=off"}})
	id := d.ordered(98)
	d.scanned(id, "out_for_delivery", "203", "702")
	until(t, 20*time.Second, "a case", func() bool { return len(caseOf(d.view(id), "sms_failed")) > 0 })
	c := caseOf(d.view(id), "sms_failed")
	if next, _ := c["next_action"].(string); !strings.Contains(next, "签收密码") || !strings.Contains(next, "身份证件") {
		t.Errorf("case %v", c)
	}
	for _, m := range d.sms.Messages() {
		if m.Template == "SMS_900000002" || m.Template == "SMS_900000003" {
			t.Errorf("a text without the password was sent: %s", m.Template)
		}
	}
	if !strings.Contains(d.log.String(), "handed_over_password") {
		t.Error("the start does not warn of the missing templates")
	}
}

// holds reports whether text holds a number that is no part of a longer one.
func holds(text, number string) bool {
	for i := 0; ; i++ {
		at := strings.Index(text[i:], number)
		if at < 0 {
			return false
		}
		i += at
		before, after := i == 0 || !isAlnum(text[i-1]), i+len(number) == len(text) || !isAlnum(text[i+len(number)])
		if before && after {
			return true
		}
	}
}

func isAlnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
