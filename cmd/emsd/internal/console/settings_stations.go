package console

import (
	"errors"
	"net/http"

	"emsd/courier"
	"emsd/courier/staff"
)

func (c *Console) stationPages() []page {
	return []page{
		at("GET /console/settings/stations", staff.ReadSettings, c.stations),
		at("GET /console/settings/stations/edit", staff.WriteSettings, c.stationForm),
		at("POST /console/settings/stations/edit", staff.WriteSettings, c.stationSave),
	}
}

func (c *Console) stations(v *visit) error {
	all, err := c.Service.Stations(v.Context())
	if err != nil {
		return err
	}
	return v.render("settings_stations", all)
}

// stationPage is the form of one station.
type stationPage struct {
	courier.Station
	New    bool
	Why    string
	Faults courier.Faults
}

func (c *Console) stationForm(v *visit) error {
	code := v.form("code")
	if code == "" {
		return v.render("settings_station", stationPage{New: true})
	}
	all, err := c.Service.Stations(v.Context())
	if err != nil {
		return err
	}
	for _, st := range all {
		if st.Code == code {
			return v.render("settings_station", stationPage{Station: st})
		}
	}
	return courier.ErrNotFound
}

func (c *Console) stationSave(v *visit) error {
	row := v.row(courier.StationColumns)
	err := c.Service.SaveStation(v.Context(), row, v.User().Actor(), v.form("why"))
	if faults, ok := errors.AsType[courier.Faults](err); ok {
		st := courier.Station{Code: row["code"], Name: row["name"], Kind: row["kind"], OperatedBy: row["operated_by"], SenderName: row["sender_name"],
			Phone: row["phone"], Province: row["province"], City: row["city"], County: row["county"], Address: row["address"], Hours: row["hours"]}
		return v.renderAs(http.StatusUnprocessableEntity, "settings_station", stationPage{st, v.form("new") != "", v.form("why"), faults})
	}
	if err != nil {
		return err
	}
	return v.redirect("/console/settings/stations", "saved")
}

// row reads fields of the form by the names of a table's columns.
func (v *visit) row(columns []string) map[string]string {
	row := make(map[string]string, len(columns))
	for _, name := range columns {
		row[name] = v.form(name)
	}
	return row
}
