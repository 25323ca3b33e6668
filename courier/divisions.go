package courier

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
)

// divisions.json holds province → city → counties by their full national names. It is made from pca.json of the npm
// package china-division 2.7.0 (github.com/modood/Administrative-divisions-of-China; package.json says MIT, its LICENSE
// file WTFPL 2: both allow this). Three changes, for EMS takes 北京市/北京市/朝阳区: the 市辖区 and 县 of a municipality
// bear its own name; a county-level city directly under its province stands under 省直辖县级行政区划 and under its own
// name; a city without counties (东莞市) also stands as its own county.
//
//go:embed divisions.json
var divisionsJSON []byte

var loadDivisions = sync.OnceValue(func() map[string]map[string][]string {
	var d map[string]map[string][]string
	if err := json.Unmarshal(divisionsJSON, &d); err != nil {
		panic("divisions.json: " + err.Error()) // embedded: a test reads it
	}
	return d
})

// checkDivision compares a destination with the national list. prefix is put before each field name.
func checkDivision(prefix, province, city, county string) Faults {
	provinces := loadDivisions()
	cities, ok := provinces[province]
	if !ok {
		return Faults{divisionFault(prefix+"province", "省份", slices.Sorted(maps.Keys(provinces)), province)}
	}
	counties, ok := cities[city]
	if !ok {
		return Faults{divisionFault(prefix+"city", "该省的城市", slices.Sorted(maps.Keys(cities)), city)}
	}
	if !slices.Contains(counties, county) {
		return Faults{divisionFault(prefix+"county", "该市的区县", counties, county)}
	}
	return nil
}

// divisionFault names the full name when the posted one begins or is contained in exactly one: 北京 for 北京市.
func divisionFault(field, what string, names []string, got string) Fault {
	if got == "" {
		return Fault{field, "required", "请填写" + what + "全称"}
	}
	if full := fullNames(names, got); len(full) == 1 {
		return Fault{field, "unknown_division", "请填写全称“" + full[0] + "”"}
	}
	return Fault{field, "unknown_division", "不在全国行政区划名单的" + what + "中，请填写全称，例如“" + names[0] + "”"}
}

// fullNames gives the names that got abbreviates. Under two characters would match by accident.
func fullNames(names []string, got string) []string {
	if len([]rune(got)) < 2 {
		return nil
	}
	var full []string
	for _, n := range names {
		if strings.HasPrefix(n, got) {
			full = append(full, n)
		}
	}
	return full
}

// Provinces lists the provinces of the national list in a fixed order.
func Provinces() []string { return slices.Sorted(maps.Keys(loadDivisions())) }
