package console

import (
	"net/http"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/courier/vault"
	"emsd/notify"
)

func (c *Console) refusalPages() []page {
	return []page{
		at("GET /console/settings/do-not-send", staff.ReadSettings, c.refusals),
		at("POST /console/settings/do-not-send", staff.DoNotSend, c.refusalAdd),
		at("POST /console/settings/do-not-send/lift", staff.DoNotSend, c.refusalLift),
		at("POST /console/settings/do-not-send/check", staff.DoNotSend, c.refusalCheck),
	}
}

// refusalsPage lists who stopped what and why; numbers are not kept, so they are asked about one by one.
type refusalsPage struct {
	Refusals []notify.Refusal
	Answer   string
	Faults   courier.Faults
}

func (c *Console) refusals(v *visit) error { return c.refusalsWith(v, http.StatusOK, "", nil) }

func (c *Console) refusalsWith(v *visit, status int, answer string, faults courier.Faults) error {
	all, err := c.Refusals.All(v.Context())
	if err != nil {
		return err
	}
	return v.renderAs(status, "settings_do_not_send", refusalsPage{all, answer, faults})
}

// stoppedNumber reads the number of the form, and why; a POST, so that no number is in an address.
func stoppedNumber(v *visit, why bool) (vault.Secret, courier.Faults) {
	var faults courier.Faults
	phone := v.form("phone")
	if !notify.IsMobile(phone) {
		faults = append(faults, courier.Fault{Field: "phone", Code: "format", Detail: "请填写11位手机号"})
	}
	if why && v.form("why") == "" {
		faults = append(faults, courier.Fault{Field: "why", Code: "required", Detail: "请填写原因（不写姓名和号码）"})
	}
	return vault.Conceal(phone), faults
}

func (c *Console) refusalAdd(v *visit) error {
	phone, faults := stoppedNumber(v, true)
	if len(faults) > 0 {
		return c.refusalsWith(v, http.StatusUnprocessableEntity, "", faults)
	}
	added, err := c.Refusals.Add(v.Context(), phone, notify.Refusal{Source: "clerk", By: v.User().Actor(), Why: v.form("why"), Since: c.Clock.Now()})
	if err != nil {
		return err
	}
	if !added {
		return c.refusalsWith(v, http.StatusOK, "该号码此前已经停发。", nil)
	}
	return v.redirect("/console/settings/do-not-send", "number_stopped")
}

func (c *Console) refusalLift(v *visit) error {
	phone, faults := stoppedNumber(v, true)
	if len(faults) > 0 {
		return c.refusalsWith(v, http.StatusUnprocessableEntity, "", faults)
	}
	lifted, err := c.Refusals.Lift(v.Context(), phone, v.User().Actor(), v.form("why"), c.Clock.Now())
	if err != nil {
		return err
	}
	if !lifted {
		return c.refusalsWith(v, http.StatusOK, "该号码没有停发。", nil)
	}
	return v.redirect("/console/settings/do-not-send", "number_lifted")
}

func (c *Console) refusalCheck(v *visit) error {
	phone, faults := stoppedNumber(v, false)
	if len(faults) > 0 {
		return c.refusalsWith(v, http.StatusUnprocessableEntity, "", faults)
	}
	stopped, err := c.Refusals.Has(v.Context(), phone)
	if err != nil {
		return err
	}
	answer := "该号码没有停发。"
	if stopped {
		answer = "该号码已停发短信。"
	}
	return c.refusalsWith(v, http.StatusOK, answer, nil)
}
