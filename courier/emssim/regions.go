package emssim

import (
	_ "embed"
	"encoding/json"
	"strings"
	"sync"
)

// regionsJSON is the national division list, [code, name, cities[code, name, counties[code, name]]], made from the npm
// package china-division (MIT), which follows the National Bureau of Statistics.
//
//go:embed regions.json
var regionsJSON []byte

type place struct {
	code, name string
	inner      []place
}

func (p *place) UnmarshalJSON(b []byte) error {
	row := []any{&p.code, &p.name, &p.inner}
	return json.Unmarshal(b, &row)
}

// national is the list with names as EMS wants them: municipalities repeat (北京市/北京市/朝阳区), and a county-level
// city under the province stands as its own city as well (湖北省/仙桃市/仙桃市). An undivided city has itself as county.
var national = sync.OnceValue(func() map[string]map[string]map[string]string {
	var all []place
	if err := json.Unmarshal(regionsJSON, &all); err != nil {
		panic("emssim: regions.json: " + err.Error()) // embedded; a test reads it
	}
	out := map[string]map[string]map[string]string{}
	for _, prov := range all {
		cities := map[string]map[string]string{}
		out[prov.name] = cities
		add := func(city, county, code string) {
			if cities[city] == nil {
				cities[city] = map[string]string{}
			}
			cities[city][county] = code
		}
		for _, city := range prov.inner {
			name := city.name
			if name == "市辖区" || name == "县" {
				name = prov.name
			}
			if len(city.inner[0].code) > 6 {
				add(name, name, city.code+"00")
			}
			for _, county := range city.inner {
				code := county.code[:6]
				add(name, county.name, code)
				if strings.Contains(name, "直辖县级") {
					add(county.name, county.name, code)
				}
			}
		}
	}
	return out
})

func knownRegion(prov, city, county string) bool {
	_, ok := national()[prov][city][county]
	return ok
}

// regionCode is the six-digit code of a county, "" for an unknown one.
func regionCode(a address) string { return national()[a.prov][a.city][a.county] }

// embargoed reports whether the address lies where EMS takes nothing at present.
func (c *Carrier) embargoed(a address) bool {
	for _, start := range c.cfg.Unreachable {
		if strings.HasPrefix(a.prov+a.city+a.county, start) {
			return true
		}
	}
	return false
}

// reachable is 060002.
func (c *Carrier) reachable(in call) answer {
	f := &fields{m: in.all[0]}
	f.mustOneOf("baseProductNo", "1", "2", "3", "9", "10")
	f.text("bizProductId", 20)
	f.mustOneOf("contentsAttribute", "1", "3")
	f.number("weight")
	side := func(who string) address {
		a := address{prov: f.must(who+"Prov", 20), city: f.must(who+"City", 20), county: f.must(who+"County", 20)}
		f.text(who+"Address", 200)
		if f.fault == "" && !knownRegion(a.prov, a.city, a.county) {
			f.fail(who+"Prov/City/County", "不是国标全称")
		}
		return a
	}
	to := side("receiver")
	side("sender")
	switch {
	case f.fault != "":
		return refuse(f.fault)
	case c.embargoed(to):
		return refuse("收寄管控不可达")
	}
	return success("该地址信息可达！", "")
}

// parseAddresses is 060001: one result for each address, empty names for what it does not recognise.
func (c *Carrier) parseAddresses(in call) answer {
	type result struct {
		Prov         string `json:"provName"`
		City         string `json:"cityName"`
		County       string `json:"countyName"`
		ProvCode     string `json:"proCode"`
		CityCode     string `json:"cityCode"`
		CountyCode   string `json:"countyCode"`
		DistrictCode string `json:"districtCode"`
	}
	results := make([]result, 0, len(in.all))
	for _, m := range in.all {
		f := &fields{m: m}
		whole := f.must("wholeAddress", 200)
		if f.fault != "" {
			return refuse(f.fault)
		}
		a, code := recognise(whole)
		r := result{Prov: a.prov, City: a.city, County: a.county, CountyCode: code, DistrictCode: code}
		if code != "" {
			r.ProvCode, r.CityCode = code[:2]+"0000", code[:4]+"00"
			if a.prov == a.city {
				r.CityCode = r.ProvCode
			}
		}
		results = append(results, r)
	}
	return success("成功！", string(render(results)))
}

// recognise finds the full names at the front of an address; the city may be left out when its county says which.
func recognise(whole string) (address, string) {
	for prov, cities := range national() {
		rest, ok := strings.CutPrefix(whole, prov)
		if !ok {
			continue
		}
		for city, counties := range cities {
			tail := strings.TrimPrefix(rest, city)
			for county, code := range counties {
				if strings.HasPrefix(tail, county) && (tail != rest || prov == city) {
					return address{prov: prov, city: city, county: county}, code
				}
			}
		}
		return address{prov: prov}, ""
	}
	return address{}, ""
}
