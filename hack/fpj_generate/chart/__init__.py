"""What of the Helm chart is generated.

Values, their schema and their table come from `values`, settings from `fpj_operator.settings`,
rights from `fpj_generate.rights`, resources from the API types. Templates that only arrange these
are written by hand.
"""
