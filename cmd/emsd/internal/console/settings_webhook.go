package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"emsd/courier"
	"emsd/notify/webhook"

	"github.com/google/uuid"
)

// attemptsShown is how many tries a page lists.
const attemptsShown = 50

// webhookPage is one subscriber, with what was tried.
type webhookPage struct {
	Endpoint webhook.Endpoint
	Form     webhookForm
	Attempts webhook.AttemptPage
	Earlier  bool // not the newest
	Wall     time.Time
	Faults   courier.Faults
}

// Waits tells since how long the first message has been waiting.
func (p webhookPage) Waits() time.Duration { return max(p.Wall.Sub(p.Endpoint.OldestAt), 0) }

func (c *Console) webhook(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	return c.webhookWith(v, http.StatusOK, id, nil, nil)
}

// webhookWith shows a subscriber; without a form, as it is.
func (c *Console) webhookWith(v *visit, status int, id uuid.UUID, form *webhookForm, faults courier.Faults) error {
	e, err := c.Webhooks.Get(v.Context(), id)
	if err != nil {
		return err
	}
	cursor := v.r.URL.Query().Get("before")
	tries, err := c.Webhooks.Attempts(v.Context(), id, cursor, attemptsShown)
	if err != nil {
		return err
	}
	p := webhookPage{Endpoint: e, Attempts: tries, Earlier: cursor != "", Wall: c.Clock.Wall(), Faults: faults,
		Form: webhookForm{e.Name, e.URL, strings.Join(e.Types, " "), e.Ordered, e.PublicKey != ""}}
	if form != nil {
		p.Form = *form
	}
	return v.renderAs(status, "settings_webhook", p)
}

// webhookDo lets f work on the subscriber of the path, then leads back to it; notice tells what was done.
func (c *Console) webhookDo(v *visit, notice string, form *webhookForm, f func(id uuid.UUID) error) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	err = f(id)
	if faults := faultsIn(&err); len(faults) > 0 {
		return c.webhookWith(v, http.StatusUnprocessableEntity, id, form, faults)
	}
	if err != nil {
		return err
	}
	return v.redirect(webhooksPath+"/"+id.String(), notice)
}

func (c *Console) webhookChange(v *visit) error {
	form := webhookFormOf(v)
	return c.webhookDo(v, "saved", &form, func(id uuid.UUID) error {
		_, err := c.Webhooks.Change(v.Context(), id, form.wish(), v.User().Actor())
		return err
	})
}

func (c *Console) webhookPause(v *visit) error {
	return c.webhookDo(v, "webhook_paused", nil, func(id uuid.UUID) error {
		off := false
		_, err := c.Webhooks.Change(v.Context(), id, webhook.Wish{Enabled: &off}, v.User().Actor())
		return err
	})
}

func (c *Console) webhookEnable(v *visit) error {
	return c.webhookDo(v, "webhook_enabled", nil, func(id uuid.UUID) error {
		_, err := c.Webhooks.Enable(v.Context(), id, v.User().Actor())
		return err
	})
}

func (c *Console) webhookDelete(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	if v.form("sure") == "" {
		return c.webhookWith(v, http.StatusUnprocessableEntity, id, nil,
			courier.Faults{{Field: "sure", Code: "required", Detail: "请勾选确认：删除后，尚未送达的消息不再推送"}})
	}
	if err := c.Webhooks.Delete(v.Context(), id, v.User().Actor()); err != nil {
		return err
	}
	return v.redirect(webhooksPath, "webhook_deleted")
}

func (c *Console) webhookRotate(v *visit) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	hours, err := strconv.Atoi(v.form("hours"))
	if err != nil || hours < 0 || hours > 720 {
		return c.webhookWith(v, http.StatusUnprocessableEntity, id, nil,
			courier.Faults{{Field: "hours", Code: "range", Detail: "新旧密钥并用的时间应为0至720小时"}})
	}
	overlap := time.Duration(hours) * time.Hour
	if hours == 0 {
		overlap = -1 // none, where 0 would be a day
	}
	e, made, err := c.Webhooks.RotateSecret(v.Context(), id, overlap, v.User().Actor())
	if err != nil {
		return err
	}
	return v.render("settings_secret", webhookSecret(e, made))
}

func (c *Console) webhookTest(v *visit) error {
	return c.webhookDo(v, "webhook_tested", nil, func(id uuid.UUID) error {
		_, err := c.Webhooks.Test(v.Context(), id, v.User().Actor())
		return err
	})
}

func (c *Console) webhookReplay(v *visit) error {
	again, faults := replayOf(v)
	queued := 0
	id, err := v.id()
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		return c.webhookWith(v, http.StatusUnprocessableEntity, id, nil, faults)
	}
	queued, err = c.Webhooks.Replay(v.Context(), id, again, v.User().Actor())
	if gone, ok := errors.AsType[*courier.Gone](err); ok {
		return c.webhookWith(v, http.StatusUnprocessableEntity, id, nil, courier.Faults{{Field: "from", Code: "range",
			Detail: "序号 " + strconv.FormatInt(gone.After, 10) + " 及以前的推送已过保留期，请从 " + strconv.FormatInt(gone.After+1, 10) + " 起重新推送"}})
	}
	if err != nil {
		return err
	}
	notice := "webhook_replayed"
	if queued == 0 {
		notice = "webhook_replayed_none"
	}
	return v.redirect(webhooksPath+"/"+id.String(), notice)
}

// replayOf reads what is to be sent again: the words of the form, where the service has those of the API.
func replayOf(v *visit) (webhook.Replay, courier.Faults) {
	switch v.form("what") {
	case "failed":
		return webhook.Replay{Failed: true}, nil
	case "message":
		if _, ok := webhook.ParseMessageID(v.form("message")); !ok {
			return webhook.Replay{}, courier.Faults{{Field: "message", Code: "format", Detail: "消息编号以 msg_ 开头，见下方推送记录"}}
		}
		return webhook.Replay{MessageID: v.form("message")}, nil
	case "range":
		from, err := strconv.ParseInt(v.form("from"), 10, 64)
		until, uerr := strconv.ParseInt(v.form("until"), 10, 64)
		if err != nil || uerr != nil || from < 1 || until < from {
			return webhook.Replay{}, courier.Faults{{Field: "from", Code: "range", Detail: "起止序号应为正整数，且“至”不小于“从”"}}
		}
		return webhook.Replay{After: from - 1, Until: until}, nil
	}
	return webhook.Replay{}, courier.Faults{{Field: "what", Code: "required", Detail: "请选择要重新推送的内容"}}
}
