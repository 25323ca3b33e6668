package courier

import (
	"testing"
	"unicode/utf8"
)

func TestDivisionsAreFullNamesWithinTheCarriersLimit(t *testing.T) {
	t.Parallel()
	d := loadDivisions()
	if len(d) != 31 {
		t.Errorf("%d provinces, want 31", len(d))
	}
	for province, cities := range d {
		for city, counties := range cities {
			if city == "市辖区" || city == "县" || len(counties) == 0 {
				t.Errorf("%s/%s: %d counties", province, city, len(counties))
			}
			for _, name := range append([]string{province, city}, counties...) {
				if n := utf8.RuneCountInString(name); n < 2 || n > 20 { // EMS: String 20
					t.Errorf("%s has %d characters", name, n)
				}
			}
		}
	}
	if n := len(d["北京市"]["北京市"]); n != 16 {
		t.Errorf("Beijing has %d districts, want 16", n)
	}
}

func TestDestinationIsComparedWithTheNationalList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                   string
		province, city, county string
		field, detail          string // of the fault; empty: none
	}{
		{"municipality repeats", "北京市", "北京市", "朝阳区", "", ""},
		{"county of a municipality", "重庆市", "重庆市", "城口县", "", ""},
		{"prefecture", "河北省", "石家庄市", "长安区", "", ""},
		{"county-level city under its province", "湖北省", "省直辖县级行政区划", "仙桃市", "", ""},
		{"the same under its own name", "湖北省", "仙桃市", "仙桃市", "", ""},
		{"city without counties", "广东省", "东莞市", "东莞市", "", ""},
		{"its towns", "广东省", "东莞市", "虎门镇", "", ""},
		{"short province names the full one", "北京", "北京市", "朝阳区", "province", "请填写全称“北京市”"},
		{"short region", "新疆", "乌鲁木齐市", "天山区", "province", "请填写全称“新疆维吾尔自治区”"},
		{"short city", "河北省", "石家庄", "长安区", "city", "请填写全称“石家庄市”"},
		{"short county", "北京市", "北京市", "朝阳", "county", "请填写全称“朝阳区”"},
		{"市辖区 is not what EMS takes", "北京市", "市辖区", "朝阳区", "city", "不在全国行政区划名单的该省的城市中，请填写全称，例如“北京市”"},
		{"county of another city", "河北省", "唐山市", "长安区", "county", "不在全国行政区划名单的该市的区县中，请填写全称，例如“路南区”"},
		{"one character names nothing", "京", "北京市", "朝阳区", "province", "不在全国行政区划名单的省份中，请填写全称，例如“上海市”"},
		{"nothing", "", "", "", "province", "请填写省份全称"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			faults := checkDivision("", tt.province, tt.city, tt.county)
			if tt.field == "" {
				if faults != nil {
					t.Errorf("faults %v, want none", faults)
				}
				return
			}
			if len(faults) != 1 || faults[0].Field != tt.field || faults[0].Detail != tt.detail {
				t.Errorf("faults %v, want %s: %s", faults, tt.field, tt.detail)
			}
		})
	}
}
