"""The commands of `analyze`, by what they need: a store, runs, or the language model as well."""
