package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) tariffPages() []page {
	return []page{
		at("GET /console/settings/tariffs", staff.ReadSettings, c.tariffs),
		at("GET /console/settings/tariffs/new", staff.WriteSettings, c.tariffForm),
		at("POST /console/settings/tariffs/preview", staff.WriteSettings, c.tariffPreview),
		at("POST /console/settings/tariffs", staff.WriteSettings, c.tariffSave),
	}
}

// tariffsPage lists tariffs and says which of them is in force.
type tariffsPage struct {
	Tariffs []courier.Tariff
	Now     time.Time
}

// InForce says whether a tariff applies now.
func (p tariffsPage) InForce(t courier.Tariff) bool {
	return !p.Now.Before(t.ValidFrom) && (t.ValidTo.IsZero() || p.Now.Before(t.ValidTo))
}

// ToCome says whether a tariff begins later.
func (p tariffsPage) ToCome(t courier.Tariff) bool { return p.Now.Before(t.ValidFrom) }

func (c *Console) tariffs(v *visit) error {
	all, err := c.Service.AllTariffs(v.Context())
	if err != nil {
		return err
	}
	return v.render("settings_tariffs", tariffsPage{all, c.Clock.Now()})
}

// tariffPage is the form of a new tariff with what it would change. Money is in yuan here, as people write it.
type tariffPage struct {
	Zone, Provinces, From, FirstYuan, FirstG, StepYuan, StepG, Why string
	Preview                                                        []courier.TariffPreview
	Faults                                                         courier.Faults
}

func (c *Console) tariffForm(v *visit) error {
	return v.render("settings_tariff", tariffPage{From: c.Clock.Now().In(beijing).AddDate(0, 1, 0).Format(time.DateOnly), FirstG: "500", StepG: "500"})
}

// tariffOf reads the form.
func tariffOf(v *visit) (tariffPage, map[string]string, courier.Faults) {
	p := tariffPage{Zone: v.form("zone"), Provinces: v.form("provinces"), From: v.form("from"), FirstYuan: v.form("first_yuan"), FirstG: v.form("first_g"),
		StepYuan: v.form("step_yuan"), StepG: v.form("step_g"), Why: v.form("why")}
	var faults courier.Faults
	fen := func(field, yuan string) string {
		n, ok := fenOf(yuan)
		if !ok {
			faults = append(faults, courier.Fault{Field: field, Code: "format", Detail: "金额应以元为单位，最多两位小数，例如 12 或 12.50"})
		}
		return strconv.FormatInt(n, 10)
	}
	row := map[string]string{"zone": p.Zone, "provinces": strings.NewReplacer("、", " ", "，", " ", ",", " ").Replace(p.Provinces), "valid_from": p.From,
		"first_weight_g": p.FirstG, "first_fen": fen("first_yuan", p.FirstYuan), "step_weight_g": p.StepG, "step_fen": fen("step_yuan", p.StepYuan)}
	return p, row, faults
}

// maxYuan bounds a price of the form: far beyond any postage.
const maxYuan = 1000

// fenOf reads yuan with up to two decimals, without the detour over a fraction that cannot be held exactly.
func fenOf(yuan string) (int64, bool) {
	whole, part, _ := strings.Cut(yuan, ".")
	if len(part) > 2 || strings.HasSuffix(yuan, ".") {
		return 0, false
	}
	n, err := strconv.ParseUint(whole, 10, 31)
	if err != nil || n > maxYuan {
		return 0, false
	}
	cents, err := strconv.ParseUint((part + "00")[:2], 10, 31)
	if err != nil {
		return 0, false
	}
	return int64(n)*100 + int64(cents), true
}

func (c *Console) tariffPreview(v *visit) error {
	p, row, faults := tariffOf(v)
	previews, err := c.Service.PreviewTariff(v.Context(), row)
	return c.tariffAnswer(v, p, previews, append(faults, faultsIn(&err)...), err)
}

// tariffAnswer shows the form again: with its faults, or with what it would change.
func (c *Console) tariffAnswer(v *visit, p tariffPage, previews []courier.TariffPreview, faults courier.Faults, err error) error {
	if err != nil {
		return err
	}
	if p.Faults = faults; len(faults) > 0 {
		return v.renderAs(http.StatusUnprocessableEntity, "settings_tariff", p)
	}
	p.Preview = previews
	return v.render("settings_tariff", p)
}

// faultsIn takes faults out of an error, which is nil then.
func faultsIn(err *error) courier.Faults {
	faults, ok := errors.AsType[courier.Faults](*err)
	if ok {
		*err = nil
	}
	return faults
}

func (c *Console) tariffSave(v *visit) error {
	p, row, faults := tariffOf(v)
	if len(faults) > 0 {
		return c.tariffAnswer(v, p, nil, faults, nil)
	}
	err := c.Service.AddTariff(v.Context(), row, v.User().Actor(), p.Why)
	if faults := faultsIn(&err); len(faults) > 0 || err != nil {
		return c.tariffAnswer(v, p, nil, faults, err)
	}
	return v.redirect("/console/settings/tariffs", "saved")
}
