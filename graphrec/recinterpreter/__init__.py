"""RecInterpreter: a language model reads the states of a frozen recommender and puts them into words."""
