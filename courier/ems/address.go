package ems

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"emsd/courier"
)

// Reachable asks whether EMS takes a document from one address to another today (060002). The weight may be 0.
func (c *Client) Reachable(ctx context.Context, sender, recipient courier.Party, weightG int) (bool, error) {
	from, to := party(sender), party(recipient)
	k := checks{api: apiReachable}
	k.region("sender", from)
	k.region("receiver", to)
	k.optional("senderAddress", from.Address, 200)
	k.optional("receiverAddress", to.Address, 200)
	if weightG < 0 {
		k.wrong("weight", "negative")
	}
	if err := k.err(); err != nil {
		return false, c.refuse(err)
	}
	message := marshal(struct {
		Product           string `json:"baseProductNo"`
		Contents          string `json:"contentsAttribute"`
		RecipientProvince string `json:"receiverProv"`
		RecipientCity     string `json:"receiverCity"`
		RecipientCounty   string `json:"receiverCounty"`
		RecipientAddress  string `json:"receiverAddress,omitempty"`
		SenderProvince    string `json:"senderProv"`
		SenderCity        string `json:"senderCity"`
		SenderCounty      string `json:"senderCounty"`
		SenderAddress     string `json:"senderAddress,omitempty"`
		WeightG           string `json:"weight,omitempty"`
	}{
		products[c.cfg.Product].base, document,
		to.Province, to.City, to.County, to.Address,
		from.Province, from.City, from.County, from.Address, grams(weightG),
	})
	err := c.ask(ctx, apiReachable, message, private(from, to), envelopeOnly)
	if e, ok := errors.AsType[*courier.CarrierError](err); ok && e.Kind == courier.RefusedByCarrier && strings.Contains(e.Message, "不可达") {
		return false, nil // the answer to the question, not a failure of asking
	}
	return err == nil, err
}

func grams(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// An Address is what EMS makes of an address in one line. Codes are the six-digit national ones.
type Address struct {
	Province, City, County             string
	ProvinceCode, CityCode, CountyCode string
}

// ParseAddress splits an address (060001). The zero Address: EMS recognises nothing in it.
func (c *Client) ParseAddress(ctx context.Context, whole string) (Address, error) {
	k := checks{api: apiParse}
	k.text("wholeAddress", whole, 200)
	if err := k.err(); err != nil {
		return Address{}, c.refuse(err)
	}
	message := marshal([]struct {
		Whole string `json:"wholeAddress"`
	}{{whole}})

	var found Address
	err := c.ask(ctx, apiParse, message, []string{whole}, func(a *answer) (err error) {
		found, err = readAddress(a)
		return err
	})
	if err != nil {
		return Address{}, err
	}
	return found, nil
}

func readAddress(a *answer) (Address, error) {
	var d Address
	_, err := a.object(func(key, raw []byte) {
		value := cut(code(raw), longestName)
		switch string(key) {
		case "provName":
			d.Province = value
		case "cityName":
			d.City = value
		case "countyName":
			d.County = value
		case "proCode":
			d.ProvinceCode = value
		case "cityCode":
			d.CityCode = value
		case "countyCode":
			d.CountyCode = value
		}
	})
	if err != nil {
		return Address{}, err
	}
	return d, nil
}
