package ems

import (
	"context"

	"emsd/courier"
)

// identifications are the words of package courier on the wire (dossier 2.9).
var identifications = map[string]string{
	courier.InterveneReaddress: "1", courier.InterveneWithdraw: "2", courier.InterveneUrge: "4", courier.InterveneRedeliver: "5",
}

// Names of the new address in SPEC 5.27: its table and its sample contradict each other.
const (
	namesOfTable  = "table"
	namesOfSample = "sample"
)

// Intervene asks EMS to do something with an envelope that it has: kind is readdress, withdraw, urge or redeliver, and to
// the new address for the first. No document states the interface code, so that it is configured. At most one request
// leaves.
func (c *Client) Intervene(ctx context.Context, kind, waybillNo string, to courier.Party) error {
	api := c.cfg.InterveneAPI
	k := checks{api: api}
	if api == "" {
		k.wrong("apiCode", "EMSD_EMS_INTERVENE_API is not set")
	}
	if !isCode(waybillNo, 1, 20) {
		k.wrong("waybillNo", "1 to 20 letters and digits are wanted")
	}
	if identifications[kind] == "" {
		k.wrong("identification", "an unknown kind")
	}
	message := map[string]string{"identification": identifications[kind], "waybillNo": waybillNo}
	if kind == courier.InterveneReaddress {
		w := wireParty{Province: to.Province, City: to.City, County: to.County, Address: reveal(to.Address)}
		k.region("receiver", w)
		k.text("receiver.address", w.Address, 200)
		names := [4]string{"receiverProv", "receiverCity", "receiverCounty", "receiverAddress"}
		if c.cfg.InterveneNames == namesOfSample {
			names = [4]string{"receiverProvinceName", "receiverCityName", "receiverCountyName", "receiverAddr"}
		}
		for i, v := range []string{w.Province, w.City, w.County, w.Address} {
			message[names[i]] = v
		}
	}
	if err := k.err(); err != nil {
		return c.refuse(err)
	}
	return c.order(ctx, api, marshal(message), []string{reveal(to.Address)}, envelopeOnly)
}
