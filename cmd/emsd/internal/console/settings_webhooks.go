package console

import (
	"net/http"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
	"emsd/notify/webhook"
)

func (c *Console) webhookPages() []page {
	return []page{
		at("GET /console/settings/webhooks", staff.ManageHooks, c.webhooks),
		at("POST /console/settings/webhooks", staff.ManageHooks, c.webhookCreate),
		at("GET /console/settings/webhooks/{id}", staff.ManageHooks, c.webhook),
		at("POST /console/settings/webhooks/{id}", staff.ManageHooks, c.webhookChange),
		at("POST /console/settings/webhooks/{id}/pause", staff.ManageHooks, c.webhookPause),
		at("POST /console/settings/webhooks/{id}/enable", staff.ManageHooks, c.webhookEnable),
		at("POST /console/settings/webhooks/{id}/delete", staff.ManageHooks, c.webhookDelete),
		at("POST /console/settings/webhooks/{id}/rotate", staff.ManageHooks, c.webhookRotate),
		at("POST /console/settings/webhooks/{id}/test", staff.ManageHooks, c.webhookTest),
		at("POST /console/settings/webhooks/{id}/replay", staff.ManageHooks, c.webhookReplay),
	}
}

const webhooksPath = "/console/settings/webhooks"

// webhooksPage lists the subscribers.
type webhooksPage struct {
	Endpoints []webhook.Endpoint
	Off       bool
	Form      webhookForm
	Wall      time.Time
	Faults    courier.Faults
}

// Waits tells since how long the first message of a subscriber has been waiting.
func (p webhooksPage) Waits(e webhook.Endpoint) time.Duration {
	return max(p.Wall.Sub(e.OldestAt), 0)
}

// A webhookForm is what somebody has filled in of a subscriber.
type webhookForm struct {
	Name, URL, Types string
	Ordered, Ed25519 bool
}

func webhookFormOf(v *visit) webhookForm {
	return webhookForm{v.form("name"), v.form("url"), v.form("types"), v.form("ordered") != "", v.form("ed25519") != ""}
}

// wish is the whole form: a box that is not ticked says no.
func (f webhookForm) wish() webhook.Wish {
	types := strings.FieldsFunc(f.Types, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;，；、　", r) })
	return webhook.Wish{Name: &f.Name, URL: &f.URL, Types: &types, Ordered: &f.Ordered, Ed25519: &f.Ed25519}
}

func (c *Console) webhooks(v *visit) error {
	return c.webhooksWith(v, http.StatusOK, webhookForm{}, nil)
}

func (c *Console) webhooksWith(v *visit, status int, form webhookForm, faults courier.Faults) error {
	all, err := c.Webhooks.List(v.Context())
	if err != nil {
		return err
	}
	return v.renderAs(status, "settings_webhooks", webhooksPage{all, c.Webhooks.Off(), form, c.Clock.Wall(), faults})
}

func (c *Console) webhookCreate(v *visit) error {
	form := webhookFormOf(v)
	e, made, err := c.Webhooks.Create(v.Context(), form.wish(), v.User().Actor())
	if faults := faultsIn(&err); len(faults) > 0 {
		return c.webhooksWith(v, http.StatusUnprocessableEntity, form, faults)
	}
	if err != nil {
		return err
	}
	return v.render("settings_secret", webhookSecret(e, made))
}

// webhookSecret shows what a subscriber verifies with.
func webhookSecret(e webhook.Endpoint, made webhook.Credentials) secretPage {
	hint := "请立即交给订阅方妥善保存，用于核验推送的签名；之后无法再次查看。"
	if made.PublicKey != "" {
		hint += "公钥可随时在订阅页面查看。"
	}
	return secretPage{"签名密钥", e.Name, made.Secret, hint, webhookPath(e)}
}

func webhookPath(e webhook.Endpoint) string { return webhooksPath + "/" + e.ID.String() }
