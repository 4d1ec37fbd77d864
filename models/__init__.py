"""The forecaster: the only package that knows torch. numpy in, numpy out; it imports neither pipeline nor flows."""
