"""Electronic case reports: what the proxy knows of eICR, RR and eRSD."""
