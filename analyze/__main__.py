from analyze.cli import main

main(prog_name="analyze")
