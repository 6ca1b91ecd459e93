package kem

// golden is one pair of each mode with what seed 9180 of cryptotest makes of it.
var golden = []struct {
	mode, embed, recover, enc string
	sealed                    []string
	export, known             string
}{
	{
		mode:    "public",
		embed:   "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
		recover: "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e07b",
		enc:     "f24a99a6cb678f9f71ded29db855bc4735d7afa956fbecf9df46a3a0433e4fc6",
		sealed:  []string{"85b4bdd87e2eeae7e3d07e148bad3948c01d5bc85fd9ac3b27", "610a16d2781329273f9a7974e0ea633d11753f96a612a476b8"},
		export:  "bcf56b7382794b9d2472ea772efd84688dfc865506442d2ac9c65d5128b570c3928a27747fedd46f",
		known:   "df272385e5ca8bb0188fc4b717d6d59c87bf1187b26fff0baae73d11bd568493a724f5ad038555ab",
	},
	{
		mode:    "symmetric",
		embed:   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		recover: "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40",
		enc:     "a97d410914a6a80a84dd7af2289eb711c393955ada5ec6ed02a3a49d8a093838",
		sealed:  []string{"418ffd2ef977154a2582f59fe5eb70f6712a94bba608989bd4", "56f0bf4b87c24ab238fe305911354841a258c28febbe9bedd1"},
		export:  "6a6f5c4d3888a6b46ca927c597aec7f77de92cc50fdaaa330965d68cf05211795e4cc6497f8e82ed",
		known:   "0b62fc7c99a3b31dd0f209242118a27e88b4e6574708283aa228b68788fe0c8d647f484346267380",
	},
}
