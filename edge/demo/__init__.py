"""The whole gate on one machine, with people made of public-domain portraits."""
