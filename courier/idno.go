package courier

import (
	"strings"
	"time"
)

// idRegions are the first two digits of GB 11643 numbers: provinces, and 81 to 83 of the residence permits for people
// from Hong Kong, Macao and Taiwan.
const idRegions = " 11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 "

var idWeights = [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}

// checkIDNo tells what is wrong with a resident identity number; the number itself never stands in a fault.
func checkIDNo(field, id string, now time.Time) (Fault, bool) {
	fault := func(code, detail string) (Fault, bool) { return Fault{field, code, detail}, false }
	switch {
	case id == "":
		return fault("required", "请填写公民身份号码")
	case len(id) == 15 && digits(id):
		return fault("old_id_no", "15位旧号码已停用，请填写18位公民身份号码")
	case len(id) != 18 || !digits(id[:17]) || !strings.ContainsAny(id[17:], "0123456789X"):
		return fault("format", "公民身份号码应为18位：17位数字加1位数字或X；若来自Excel，请将该列设为文本后重新填写")
	case !strings.Contains(idRegions, " "+id[:2]+" "):
		return fault("region", "公民身份号码前两位不是有效的地区代码，请核对")
	}
	born, err := time.ParseInLocation("20060102", id[6:14], beijing)
	if err != nil || born.Year() < 1900 || born.After(now) {
		return fault("birth_date", "公民身份号码中的出生日期无效，请核对第7至14位")
	}
	if checkDigit(id) != id[17] {
		return fault("check_digit", "公民身份号码校验位不符，请逐位核对")
	}
	return Fault{}, true
}

// checkDigit computes the last character of an 18-digit number (GB 11643, ISO 7064 MOD 11-2).
func checkDigit(id string) byte {
	sum := 0
	for i, w := range idWeights {
		sum += int(id[i]-'0') * w
	}
	return "10X98765432"[sum%11]
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
